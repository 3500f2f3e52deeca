// SPDX-License-Identifier: MIT
/* Is there a problem, and how sure are we? One sentence, a few numbers, the findings. */
import type { Doc, Severity } from '../doc';
import { bytes, clock, count, exactBytes, percent, rate } from '../format';
import { findingText } from '../finding';
import { t, tOr } from '../i18n';
import { evidenceOf, sinceText, type Evidence } from '../evidence';
import { model } from '../model';
import { useColumns } from '../parts/Section';
import { selectSite, site, time } from '../store';

interface CardProps {
	label: string;
	value: string;
	sub?: string;
	title?: string;
	tone?: Severity;
	href: string;
}

export function Card({ label, value, sub, title, tone, href }: CardProps) {
	return (
		<a class={`card ${tone ? `tone-${tone}` : ''}`} href={href} title={title} data-jump>
			<span class="card-label">{label}</span>
			<span class="card-value">{value}</span>
			{sub && <span class="card-sub">{sub}</span>}
		</a>
	);
}

export function SeverityMark({ severity }: { severity: Severity }) {
	return (
		<span class={`severity severity-${severity}`}>
			<svg width="10" height="10" viewBox="0 0 10 10" aria-hidden="true">
				{severity === 'high' ? (
					<path d="M5 0 10 9.5H0z" />
				) : severity === 'medium' ? (
					<path d="M5 0 10 5 5 10 0 5z" />
				) : (
					<circle cx="5" cy="5" r="4.5" />
				)}
			</svg>
			{t(`severity.${severity}`)}
		</span>
	);
}

/* The sections of the page that hold what a section of the document says. */
const SECTIONS: Record<string, string> = {
	leaks: 'leaks',
	sites: 'leaks',
	threads: 'threads',
	frag: 'frag',
	pins: 'pins',
	remedies: 'remedies',
	map: 'map',
	errors: 'errors',
	quality: 'quality',
	summary: 'timeline',
	timeline: 'timeline',
};

const COLUMNS = ['frag.time_ns', 'frag.pinned_free_bytes'] as const;

/* Where, since when, what would help: three boxes under the verdict. */
function Answers({ evidence, ok }: { evidence: Evidence; ok: boolean }) {
	const since = evidence.since;
	return (
		<dl class="answers">
			<div>
				<dt>{t('ev.where')}</dt>
				<dd>
					{evidence.where ? (
						<a
							class="site-link"
							href={`#${evidence.jump}`}
							data-jump
							onClick={() => {
								if (evidence.site !== null && site.value !== evidence.site) selectSite(evidence.site);
							}}
						>
							{evidence.where}
						</a>
					) : (
						'–'
					)}
					{evidence.line && <span class="muted">{evidence.line}</span>}
				</dd>
			</div>
			<div>
				<dt>{t('ev.since')}</dt>
				<dd>
					{since === null ? (
						'–'
					) : (
						<button type="button" class="since" onClick={() => (time.value = since)}>
							{sinceText(since)}
						</button>
					)}
				</dd>
			</div>
			<div>
				<dt>{t('ev.help')}</dt>
				<dd class="help-text">{evidence.help ?? (ok ? t('ev.fine') : '–')}</dd>
			</div>
		</dl>
	);
}

/* The standard error of a figure that is an estimate. */
const within = (error: number | null | undefined) => (error == null ? '' : ` · ±${percent(error, 0)}`);

export function Verdict({ doc }: { doc: Doc }) {
	const summary = doc.summary;
	if (!summary) return null; // a document has one from its start, or never
	const { totals, rss, verdict } = summary;
	const growing = doc.leaks?.leaks.filter((leak) => leak.verdict === 'growing') ?? [];
	const growth = growing.reduce((sum, leak) => sum + (leak.rate_bytes_per_s ?? 0), 0);
	const gap = rss ? rss.last - totals.live_bytes : 0;
	const metrics = doc.frag?.metrics;
	const loaded = useColumns(doc, COLUMNS);
	const series =
		loaded && 'values' in loaded && loaded.values[0]!.length > 1
			? { times: loaded.values[0]!, pinned: loaded.values[1]! }
			: null;
	/* the finding that the verdict repeats; else there is none to look at */
	const first = summary.findings.find((finding) => finding.code === verdict.code) ?? summary.findings[0];
	const main = first ? evidenceOf(doc, first, series) : null;
	model('verdict', () => ({ severity: verdict.severity, ...main }));

	return (
		<section id="verdict" aria-labelledby="verdict-h" class="verdict-strip">
			<div class={`verdict-head severity-edge-${verdict.severity}`}>
				<SeverityMark severity={verdict.severity} />
				<h2 id="verdict-h">{findingText(verdict)}</h2>
			</div>
			{main && <Answers evidence={main} ok={verdict.severity === 'ok'} />}
			<div class="cards">
				<Card
					label={t('card.live')}
					value={bytes(totals.live_bytes)}
					sub={t('card.live.sub', count(totals.live_blocks)) + within(totals.live_bytes_relative_error)}
					title={exactBytes(totals.live_bytes)}
					href="#leaks"
				/>
				<Card
					label={t('card.peak')}
					value={bytes(totals.peak_bytes)}
					sub={
						t('card.peak.sub', clock(totals.peak_ns, summary.duration_ns)) +
						within(totals.peak_bytes_relative_error)
					}
					title={exactBytes(totals.peak_bytes)}
					href="#timeline"
				/>
				<Card
					label={t('card.rss')}
					value={rss ? bytes(rss.last) : '–'}
					sub={
						rss
							? gap > 0
								? t('card.rss.sub', bytes(gap), percent(gap / rss.last, 0))
								: undefined
							: t('card.rss.none')
					}
					title={rss ? exactBytes(rss.last) : undefined}
					href="#timeline"
				/>
				<Card
					label={t('card.growth')}
					value={growing.length > 0 ? rate(growth) : '0'}
					sub={growing.length > 0 ? t('card.growth.sub', growing.length) : t('card.growth.none')}
					tone={growing.length > 0 ? 'high' : undefined}
					href="#leaks"
				/>
				<Card
					label={t('card.frag')}
					value={metrics ? bytes(metrics.pinned_free_bytes) : '–'}
					sub={
						metrics ? t('card.frag.sub', bytes(metrics.largest_hole)) : t('card.frag.none')
					}
					href="#frag"
				/>
				<Card
					label={t('card.lost')}
					value={count(totals.lost_events)}
					sub={t('card.lost.none', count(totals.events))}
					tone={totals.lost_events > 0 ? 'medium' : undefined}
					href="#quality"
				/>
			</div>
			<h3 class="findings-h">{t('findings')}</h3>
			{summary.findings.length === 0 ? (
				<p class="muted">{t('findings.none')}</p>
			) : (
				<ul class="findings">
					{summary.findings.map((finding) => {
						const evidence = evidenceOf(doc, finding, series);
						const target = SECTIONS[evidence.jump];
						return (
							<li>
								<SeverityMark severity={finding.severity} />
								<div class="finding-text">
									{findingText(finding)}
									{finding !== first && (evidence.line || evidence.since !== null) && (
										<span class="finding-more muted">
											{[
												evidence.where && evidence.line ? `${evidence.where} ${evidence.line}` : '',
												evidence.since === null ? '' : `${t('ev.since')} ${sinceText(evidence.since)}`,
											].filter((part) => part !== '').join(' · ')}
										</span>
									)}
								</div>
								<span class="finding-links">
									{evidence.site ? (
										<button
											type="button"
											aria-pressed={site.value === evidence.site}
											onClick={() => selectSite(evidence.site)}
										>
											{t('finding.site')}
										</button>
									) : null}
									{target && (
										<a href={`#${target}`} data-jump>
											{tOr(target, 'nav')}
											<span aria-hidden="true"> →</span>
										</a>
									)}
								</span>
							</li>
						);
					})}
				</ul>
			)}
		</section>
	);
}
