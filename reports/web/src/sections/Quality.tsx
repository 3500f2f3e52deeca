// SPDX-License-Identifier: MIT
/* Can the recording be trusted? */
import type { Doc, Frag } from '../doc';
import { bytes, clock, count, duration, exactBytes, percent, visible, wallClock } from '../format';
import { t, tOr } from '../i18n';
import { Section, TableTwin } from '../parts/Section';
import { lang, span } from '../store';

/* meta data that has a line of its own already */
const SHOWN = new Set(['state', 'events_written', 'lost_events', 'inversions']);

function known(value: number | null | undefined, show: (value: number) => string): string | null {
	return value === null || value === undefined ? null : show(value);
}

/* How far the split of the resident size can be trusted. */
function residencyText(frag: Frag | undefined): string | null {
	if (!frag?.residency) return null;
	const how = tOr('frag.residency', frag.residency);
	const at = typeof frag.sample_ns === 'number' ? ` (${clock(frag.sample_ns, span.value)})` : '';
	const closing = frag.closing
		? `; ${t('quality.closing', percent(frag.closing.within_pct / 100), count(frag.closing.samples))}`
		: '';
	return `${how}${at}${closing}`;
}

/* What had to go for the page to be no larger than asked for. */
function coarsenedText({ what, limit }: { what: string; limit: number }): string {
	if (what === 'rows') return t('quality.coarsened.rows', String(limit));
	if (what === 'frames') return t('quality.coarsened.frames', String(limit));
	return t('quality.coarsened.name_bytes', String(limit));
}

export function Quality({ doc }: { doc: Doc }) {
	const { quality, summary } = doc;
	if (!quality || !summary) return null;
	const lost = summary.totals.lost_events;
	const leftOut = quality.governor?.steps.at(-1)?.left_out_blocks ?? 0;
	const named = known(quality.symbolised_pct, (n) => percent(n / 100)) ?? '–';
	const argv = Array.isArray(summary.program.argv)
		? summary.program.argv.join(' ')
		: summary.program.argv;
	const facts: [string, string | null | undefined, string?][] = [
		[t('quality.program'), visible(summary.program.exe ?? summary.program.name)],
		[t('quality.argv'), visible(argv)],
		[t('quality.started'), wallClock(summary.recording.started_realtime_ns, lang.value)],
		[t('quality.duration'), duration(summary.duration_ns)],
		[t('quality.state'), visible(summary.recording.state)],
		[t('quality.size'), known(summary.recording.bytes, bytes), exactBytes(summary.recording.bytes)],
		[t('quality.perevent'), known(quality.bytes_per_event, (n) => n.toFixed(2))],
		[t('quality.events'), known(quality.events, (n) => n.toLocaleString('en-US'))],
		[t('quality.written'), known(quality.events_written, (n) => n.toLocaleString('en-US'))],
		[t('quality.lost'), count(lost)],
		[t('quality.unknown'), count(quality.unknown_frees)],
		[t('quality.overlaps'), count(quality.overlaps)],
		[
			t('quality.symbolised'),
			!quality.frames
				? named
				: `${named} (${count(quality.frames_resolved)} / ${count(quality.frames)})`,
		],
		[t('quality.residency'), residencyText(doc.frag)],
		[t('quality.tracer'), bytes(quality.tracer_bytes)],
		[t('quality.coarsened'), quality.coarsened?.map(coarsenedText).join('; ')],
		[t('quality.tool'), summary.recording.tool_version && `fragtrace ${summary.recording.tool_version}`],
	];
	const meta = Object.entries(quality.meta ?? {})
		.filter(([key]) => !SHOWN.has(key))
		.map(([key, value]): [string, string] => [
			visible(key).replaceAll('_', ' '),
			visible(value === null ? '' : String(value)),
		]);
	const path = visible(summary.recording.path ?? 'recording.frag');

	return (
		<Section
			id="quality"
			question={t('quality.q')}
			answer={
				lost > 0
					? t('quality.a.lost', count(lost))
					: leftOut > 0
						? t('quality.a.left', count(leftOut), percent(quality.governor!.limit_ppm / 1e6))
						: t('quality.a.good', named)
			}
			how={t('quality.how')}
		>
			<dl class="facts-list">
				{facts
					.filter(([, value]) => value)
					.map(([name, value, title]) => (
						<div>
							<dt>{name}</dt>
							<dd title={title}>{value}</dd>
						</div>
					))}
			</dl>
			{meta.length > 0 && (
				<details class="how">
					<summary>{t('quality.meta')}</summary>
					<dl class="facts-list">
						{meta.map(([name, value]) => (
							<div>
								<dt>{name}</dt>
								<dd>{value}</dd>
							</div>
						))}
					</dl>
				</details>
			)}
			{quality.losses.length > 0 && (
				<>
					<h3>{t('quality.losses')}</h3>
					<div class="scroll" tabIndex={0} role="group" aria-label={t('quality.losses')}>
						<table class="plain">
							<thead>
								<tr>
									<th scope="col">{t('quality.from')}</th>
									<th scope="col">{t('quality.to')}</th>
									<th scope="col">{t('selected.thread')}</th>
									<th scope="col" class="num">
										{t('quality.lost')}
									</th>
									<th scope="col">{t('quality.reason')}</th>
								</tr>
							</thead>
							<tbody>
								{quality.losses.map((loss) => (
									<tr>
										<td>{clock(loss.first_ns, span.value)}</td>
										<td>{clock(loss.last_ns, span.value)}</td>
										<td>{loss.thread ?? '–'}</td>
										<td class="num">{count(loss.events)}</td>
										<td>{visible(loss.reason)}</td>
									</tr>
								))}
							</tbody>
						</table>
					</div>
				</>
			)}
			{quality.governor && quality.governor.steps.length > 1 && (
				<>
					<h3>{t('quality.governor', percent(quality.governor.limit_ppm / 1e6))}</h3>
					<div class="scroll" tabIndex={0} role="group" aria-label={t('quality.governor.q')}>
						<table class="plain">
							<thead>
								<tr>
									<th scope="col">{t('quality.from')}</th>
									<th scope="col" class="num">
										{t('quality.governor.depth')}
									</th>
									<th scope="col" class="num">
										{t('quality.governor.blocks')}
									</th>
									<th scope="col" class="num">
										{t('quality.governor.overhead')}
									</th>
									<th scope="col" class="num">
										{t('quality.governor.left')}
									</th>
								</tr>
							</thead>
							<tbody>
								{quality.governor.steps.map((step) => (
									<tr>
										<td>{clock(step.time_ns, span.value)}</td>
										<td class="num">{step.depth ?? t('quality.governor.all')}</td>
										<td class="num">{step.sample_bytes ? bytes(step.sample_bytes) : t('quality.governor.all')}</td>
										<td class="num">{percent(step.overhead_ppm / 1e6)}</td>
										<td class="num">{count(step.left_out_blocks)}</td>
									</tr>
								))}
							</tbody>
						</table>
					</div>
				</>
			)}
			<TableTwin
				id="quality-table"
				twin={{
					caption: t('quality.q'),
					head: [t('frag.metric'), t('frag.value')],
					rows: () => [...facts.filter(([, value]) => value).map(([name, value]) => [name, value ?? null]), ...meta],
				}}
			/>
			<h3>{t('quality.query')}</h3>
			<p class="muted">{t('quality.query.text')}</p>
			<pre class="command" tabIndex={0}>
				{`fraganalyze query ${path} "SELECT stack, count(*), sum(requested) FROM allocation WHERE died IS NULL GROUP BY stack ORDER BY 3 DESC LIMIT 10"`}
			</pre>
		</Section>
	);
}
