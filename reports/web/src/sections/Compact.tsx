// SPDX-License-Identifier: MIT
/* What would compaction win? The heap before and after, and what a smaller budget buys. */
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Compact as Compaction, Doc } from '../doc';
import { accent, cividisCss, grid, hole, lines as palette, muted } from '../colour';
import { bytes, clock, count } from '../format';
import { t } from '../i18n';
import { model } from '../model';
import { FONT, prepareCanvas, useWidth } from '../parts/hooks';
import { Ramp } from '../parts/HeatMap';
import { Section, TableTwin, Term } from '../parts/Section';
import { span, theme } from '../store';
import { NoLayout } from './Frag';

const PAGE = 4096;
const HUGE = 2 << 20;

/* The step of the budget that moves at most `most` bytes; -1 for none. */
export function affordable(budget: Compaction['budget'], most: number): number {
	let found = -1;
	budget.forEach((step, i) => {
		if (step.moved_bytes <= most) found = i;
	});
	return found;
}

export function Compact({ doc }: { doc: Doc }) {
	const compact = doc.compact;
	const [budget, setBudget] = useState<number | null>(null);
	if (!compact) return <NoLayout doc={doc} id="compact" question={t('compact.q')} />;
	const steps = compact.budget;
	const most = Math.max(compact.moved_bytes, steps[steps.length - 1]?.moved_bytes ?? 0);
	const chosen = budget ?? most;
	const step = affordable(steps, chosen);
	const won = step < 0 ? 0 : steps[step]!.won_bytes;
	model('compact', () => ({ won: compact.won_bytes, moved: compact.moved_bytes, budget: chosen, wonFor: won }));

	return (
		<Section
			id="compact"
			question={t('compact.q')}
			answer={
				compact.won_bytes > 0
					? t('compact.a', bytes(compact.moved_bytes), bytes(compact.won_bytes), clock(compact.at_ns, span.value))
					: t('compact.a.none', clock(compact.at_ns, span.value))
			}
			how={t('compact.how')}
			tools={<span class="chip">{t('compact.model')}</span>}
		>
			<div class="strips">
				<Strip title={t('compact.before')} cells={compact.strip_before} fixed={compact.strip_unmovable} state={compact.before} />
				<Strip title={t('compact.after')} cells={compact.strip_after} fixed={compact.strip_unmovable} state={compact.after} />
			</div>
			<Ramp steps={['1 %', '25 %', '50 %', '75 %', '100 %']}>{t('compact.legend')}</Ramp>
			<div class="pair">
				<div>
					<h3>{t('compact.budget')}</h3>
					{steps.length > 1 ? (
						<>
							<Curve budget={steps} most={most} chosen={chosen} />
							<label class="slider">
								<span>{t('compact.slider', bytes(chosen), bytes(won))}</span>
								<input
									type="range"
									min="0"
									max={most}
									step={PAGE}
									value={chosen}
									aria-valuetext={t('compact.slider', bytes(chosen), bytes(won))}
									onInput={(event) => setBudget(Number(event.currentTarget.value))}
								/>
							</label>
						</>
					) : (
						<p class="empty">{t('compact.budget.none')}</p>
					)}
				</div>
				<div>
					<h3>{t('compact.facts')}</h3>
					<dl class="facts-list one">
						{(
							[
								['compact.pages', `${count(compact.used_pages)} / ${count(compact.pages)}`],
								['compact.packed', `${count(compact.packed_pages)} (${bytes(compact.packed_pages * PAGE)})`],
								['compact.huge', `${count(compact.before.huge_blocks)} → ${count(compact.after.huge_blocks)}`],
								['compact.score', `${compact.before.score} → ${compact.after.score}`],
								['compact.uf', `${compact.before.uf_index.toFixed(2)} → ${compact.after.uf_index.toFixed(2)}`],
								['compact.unmovable', `${count(compact.unmovable_pages)}`],
								['compact.scanned', `${count(compact.migrate_scanned)} + ${count(compact.free_scanned)}`],
							] as const
						).map(([key, value]) => (
							<div>
								<dt>{t(key)}</dt>
								<dd>{value}</dd>
							</div>
						))}
					</dl>
					<p class="keys"><Term name="score" /> <Term name="won" /></p>
				</div>
			</div>
			<TableTwin
				id="compact-table"
				twin={{
					caption: t('compact.budget'),
					head: [t('compact.moved'), t('compact.won')],
					rows: () => steps.map((s) => [s.moved_bytes, s.won_bytes]),
					show: (cell) => bytes(Number(cell)),
				}}
			/>
		</Section>
	);
}

interface StripProps {
	title: string;
	cells: number[];
	fixed: number[];
	state: Compaction['before'];
}

const STRIP = 34;

function Strip({ title, cells, fixed, state }: StripProps) {
	const box = useRef<HTMLDivElement>(null);
	const canvas = useRef<HTMLCanvasElement>(null);
	const width = useWidth(box);
	const now = theme.value;
	useEffect(() => {
		const c = canvas.current && width > 10 && prepareCanvas(canvas.current, width, STRIP);
		if (!c) return;
		c.fillStyle = hole[now];
		c.fillRect(0, 0, width, STRIP);
		cells.forEach((value, i) => {
			const from = Math.floor((i / cells.length) * width);
			const to = Math.ceil(((i + 1) / cells.length) * width);
			if (value > 0) {
				c.fillStyle = cividisCss(value / 255);
				c.fillRect(from, 0, to - from, STRIP);
			}
			if ((fixed[i] ?? 0) > 0) {
				c.fillStyle = accent[now];
				c.fillRect(from, STRIP - 5, to - from, 5);
			}
		});
		c.strokeStyle = grid[now];
		c.strokeRect(0.5, 0.5, width - 1, STRIP - 1);
	}, [cells, width, now]);
	return (
		<figure>
			<figcaption>
				<h3>{title}</h3>
				<p class="muted">{t('compact.state', count(state.huge_blocks), bytes(state.huge_blocks * HUGE), state.score)}</p>
			</figcaption>
			<div ref={box}>
				<canvas
					ref={canvas}
					role="img"
					aria-label={`${title}: ${t('compact.state', count(state.huge_blocks), bytes(state.huge_blocks * HUGE), state.score)}`}
				/>
			</div>
		</figure>
	);
}

const CURVE = 170;
const LEFT = 70;
const BOTTOM = 24;

function Curve({ budget, most, chosen }: { budget: Compaction['budget']; most: number; chosen: number }) {
	const box = useRef<HTMLDivElement>(null);
	const canvas = useRef<HTMLCanvasElement>(null);
	const width = useWidth(box);
	const now = theme.value;
	useEffect(() => {
		const c = canvas.current && width > LEFT + 40 && prepareCanvas(canvas.current, width, CURVE);
		if (!c) return;
		const top = Math.max(1, ...budget.map((step) => step.won_bytes));
		const x = (moved: number) => LEFT + (moved / Math.max(1, most)) * (width - LEFT - 16);
		const y = (won: number) => CURVE - BOTTOM - (won / top) * (CURVE - BOTTOM - 12);
		c.clearRect(0, 0, width, CURVE);
		c.font = FONT;
		c.fillStyle = muted[now];
		c.strokeStyle = grid[now];
		c.textAlign = 'right';
		c.textBaseline = 'middle';
		for (const share of [0, 0.5, 1]) {
			c.fillText(bytes(top * share), LEFT - 8, y(top * share));
			c.beginPath();
			c.moveTo(LEFT, y(top * share));
			c.lineTo(width - 16, y(top * share));
			c.stroke();
		}
		c.textBaseline = 'top';
		c.textAlign = 'center';
		for (const share of [0, 0.5, 1]) c.fillText(bytes(most * share), Math.min(width - 34, x(most * share)), CURVE - BOTTOM + 7);
		/* what is won is only there once a step is paid for: a staircase */
		c.strokeStyle = palette[now][0]!;
		c.lineWidth = 2;
		c.beginPath();
		c.moveTo(x(0), y(0));
		let before = 0;
		for (const step of budget) {
			c.lineTo(x(step.moved_bytes), y(before));
			c.lineTo(x(step.moved_bytes), y(step.won_bytes));
			before = step.won_bytes;
		}
		c.lineTo(x(most), y(before));
		c.stroke();
		c.strokeStyle = accent[now];
		c.lineWidth = 1;
		c.setLineDash([4, 3]);
		c.beginPath();
		c.moveTo(x(chosen), 0);
		c.lineTo(x(chosen), CURVE - BOTTOM);
		c.stroke();
		c.setLineDash([]);
	}, [budget, most, chosen, width, now]);
	return (
		<div ref={box}>
			<canvas ref={canvas} id="compact-curve" role="img" aria-label={t('compact.aria')} aria-describedby="compact-table" />
		</div>
	);
}
