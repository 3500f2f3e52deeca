// SPDX-License-Identifier: MIT
/* The page: header, banners, sections, keyboard, help. */
import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { countParts, pending } from './container';
import { SCHEMA, stackText, type Doc } from './doc';
import { address, bytes, clock, count, percent, visible } from './format';
import { t, tOr, type Key } from './i18n';
import { hook } from './model';
import { siteOf } from './names';
import { announce, spoken, toast } from './parts/announce';
import { Boundary } from './parts/Boundary';
import { Overview } from './parts/Overview';
import { copyText } from './parts/Section';
import { Tip } from './parts/Tip';
import { threadTitles } from './sections/Threads';
import {
	addresses,
	lang,
	pageShare,
	query,
	range,
	resetAll,
	section,
	selectSite,
	selectThread,
	setRange,
	singleKeys,
	site,
	span,
	theme,
	thread,
	time,
	toggleKeys,
	toggleLang,
	toggleTheme,
	view,
	zoomAt,
} from './store';

/* What a page is about: its sections, in the order of an engineer's questions, and what stands above them. */
export interface Page {
	sections: [string, (props: { doc: Doc }) => JSX.Element | null][];
	/* is there anything in it, of this document? */
	has: (doc: Doc, section: string) => boolean;
	Title: (props: { doc: Doc }) => JSX.Element | null;
	First: (props: { doc: Doc }) => JSX.Element | null;
}

const sectionsOf = (page: Page, doc: Doc) => page.sections.map(([id]) => id).filter((id) => page.has(doc, id));

/*
 * How many sections there are on the page. The first ones come first, what they show is read and drawn, and then the
 * others follow a few at a time: a reader sees the verdict and the timeline before two dozen charts have been made.
 */
const FIRST = 2;
const AT_ONCE = 6;
const shown = signal(FIRST);
const PATIENCE = 40; // frames that the others wait for the first ones' data

function useStages(all: number, done: () => void): void {
	const n = shown.value;
	useEffect(() => {
		if (n >= all) {
			done();
			return;
		}
		let frame = 0;
		let waited = 0;
		const next = () => {
			if (n === FIRST && pending() > 0 && waited++ < PATIENCE) frame = requestAnimationFrame(next);
			else shown.value = n + AT_ONCE;
		};
		/* what was rendered draws in the frame after the next */
		frame = requestAnimationFrame(() => (frame = requestAnimationFrame(next)));
		return () => cancelAnimationFrame(frame);
	}, [n]);
}

/* Links to sections must not overwrite the hash: it holds what the reader selected. */
function jump(id: string): void {
	const target = document.getElementById(id);
	if (!target) {
		/* not there yet: all of them now */
		if (shown.value === Infinity) return;
		shown.value = Infinity;
		requestAnimationFrame(() => jump(id));
		return;
	}
	const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
	section.value = id;
	target.scrollIntoView({ behavior: calm ? 'auto' : 'smooth', block: 'start' });
	target.setAttribute('tabindex', '-1');
	target.focus({ preventScroll: true });
}

function onClick(event: MouseEvent): void {
	const link = (event.target as Element).closest<HTMLAnchorElement>('a[data-jump]');
	if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
	event.preventDefault();
	jump(link.getAttribute('href')!.slice(1));
}

export function App({ doc, page, onReady }: { doc: Doc; page: Page; onReady: () => void }) {
	useStages(page.sections.length, onReady);
	const [help, setHelp] = useState(false);
	useKeyboard(page, doc, () => setHelp((on) => !on), () => setHelp(false));
	return (
		<div onClick={onClick}>
			<a class="skip" href={`#${page.sections[0]![0]}`} data-jump>
				{t('skip')}
			</a>
			<Header doc={doc} page={page} onHelp={() => setHelp(true)} />
			<main class="page">
				<Banners doc={doc} />
				<Boundary>
					<page.First doc={doc} />
				</Boundary>
				{page.sections.slice(0, shown.value).map(([, Part]) => (
					<Boundary>
						<Part doc={doc} />
					</Boundary>
				))}
			</main>
			<footer class="foot">{t('foot', doc.tool)}</footer>
			<Help open={help} onClose={() => setHelp(false)} />
			<Tip />
			<div class="toast" role="status" aria-live="polite">
				{toast.value}
			</div>
			<div class="offscreen" aria-live="polite">
				{spoken.value}
			</div>
		</div>
	);
}

/* ---- header ---------------------------------------------------------------------------------- */

function Header({ doc, page, onHelp }: { doc: Doc; page: Page; onHelp: () => void }) {
	return (
		<header class="top">
			<div class="top-row">
				<div class="brand">
					<svg width="22" height="22" viewBox="0 0 22 22" aria-hidden="true">
						<rect class="mark-a" x="1" y="1" width="9" height="9" rx="2" />
						<rect class="mark-b" x="12" y="1" width="9" height="9" rx="2" />
						<rect class="mark-c" x="1" y="12" width="9" height="9" rx="2" />
						<rect class="mark-d" x="12" y="12" width="9" height="9" rx="2" />
					</svg>
					<span class="brand-name">fragtrace</span>
				</div>
				<page.Title doc={doc} />
				<div class="top-tools">
					<input
						id="search"
						type="search"
						placeholder={t('search.short')}
						aria-label={t('search')}
						value={query.value}
						onInput={(event) => (query.value = event.currentTarget.value)}
					/>
					<button type="button" onClick={toggleLang} aria-label={t('lang')}>
						{lang.value === 'zh' ? 'EN' : '中文'}
					</button>
					<button
						type="button"
						class="icon"
						onClick={toggleTheme}
						aria-label={t('theme')}
						aria-pressed={theme.value === 'dark'}
					>
						<svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">
							<circle cx="8" cy="8" r="6.5" fill="none" stroke="currentColor" stroke-width="1.5" />
							<path d="M8 1.5a6.5 6.5 0 0 1 0 13z" fill="currentColor" />
						</svg>
					</button>
					<button type="button" class="icon" onClick={onHelp} aria-label={t('help')}>
						?
					</button>
				</div>
			</div>
			<div class="nav-row">
				<nav aria-label={t('nav')}>
					{sectionsOf(page, doc).map((id) => (
						<a href={`#${id}`} data-jump>
							{t(`${id}.nav` as Key)}
						</a>
					))}
				</nav>
				<Selection doc={doc} />
			</div>
			<Overview doc={doc} />
		</header>
	);
}

function Chip({ label, text, onClear }: { label: string; text: string; onClear: () => void }) {
	return (
		<span class="chip">
			<span class="chip-label">{label}</span> <span class="chip-text">{text}</span>
			<button type="button" aria-label={`${t('clear')}: ${label}`} onClick={onClear}>
				×
			</button>
		</span>
	);
}

function Selection({ doc }: { doc: Doc }) {
	const picked = siteOf(doc, site.value);
	const worker = thread.value === null ? null : threadTitles(doc.threads?.threads ?? []).get(thread.value);
	const [a, b] = view.value;
	const any = [range, site, thread, time, addresses, pageShare].some((chosen) => chosen.value !== null);
	return (
		<div class="chips">
			{range.value && (
				<Chip
					label={t('range')}
					text={`${clock(a, span.value)} – ${clock(b, span.value)}`}
					onClear={() => (range.value = null)}
				/>
			)}
			{time.value !== null && (
				<Chip
					label={t('frag.at')}
					text={clock(time.value, span.value)}
					onClear={() => (time.value = null)}
				/>
			)}
			{site.value !== null && (
				<Chip
					label={t('selected.site')}
					text={picked ? visible(picked.name) : `#${site.value}`}
					onClear={() => selectSite(site.value)}
				/>
			)}
			{thread.value !== null && (
				<Chip
					label={t('selected.thread')}
					text={worker ?? `#${thread.value}`}
					onClear={() => selectThread(thread.value)}
				/>
			)}
			{addresses.value && (
				<Chip
					label={t('selected.addresses')}
					text={`${address(addresses.value[0])} +${bytes(addresses.value[1] - addresses.value[0], 0)}`}
					onClear={() => (addresses.value = null)}
				/>
			)}
			<button type="button" class="reset" disabled={!any} onClick={resetAll} title={t('reset.all')}>
				{t('reset')}
			</button>
		</div>
	);
}

/* ---- banners --------------------------------------------------------------------------------- */

function Banners({ doc }: { doc: Doc }) {
	const [parts, setParts] = useState<{ have: number; cut: boolean } | null>(null);
	useEffect(() => {
		void countParts(doc.data.total).then(setParts);
	}, [doc]);
	const lost = doc.summary?.totals.lost_events ?? 0;
	const sample = doc.summary?.estimated ? (doc.summary.sample_bytes ?? null) : null;
	const error = doc.summary?.totals.bytes_allocated_relative_error ?? null;
	return (
		<>
			{parts?.cut && (
				<p class="banner banner-high" role="alert" id="banner-cut">
					{t('banner.cut', parts.have, doc.data.total)}
				</p>
			)}
			{doc.schema > SCHEMA && (
				<p class="banner banner-high" role="alert">
					{t('banner.schema', doc.schema, SCHEMA)}
				</p>
			)}
			{sample !== null && (
				<p class="banner banner-info" id="banner-sampled">
					{t('banner.sampled', bytes(sample), error === null ? '–' : percent(error, 1))}
				</p>
			)}
			{doc.summary && !doc.summary.complete && (
				<p class="banner banner-medium">{t('banner.cutoff')}</p>
			)}
			{lost > 0 && (
				<p class="banner banner-medium">{t('banner.lost', count(lost), tOr('quality', 'nav'))}</p>
			)}
		</>
	);
}

/* ---- help and keyboard ------------------------------------------------------------------------ */

function Help({ open, onClose }: { open: boolean; onClose: () => void }) {
	const dialog = useRef<HTMLDialogElement>(null);
	useEffect(() => {
		if (open && !dialog.current!.open) dialog.current!.showModal();
		if (!open && dialog.current!.open) dialog.current!.close();
	}, [open]);
	const keys: [string, Key][] = [
		['/', 'help.key./'],
		['?', 'help.key.?'],
		['t', 'help.key.t'],
		['l', 'help.key.l'],
		['0', 'help.key.0'],
		['g', 'help.key.g'],
		['j k', 'help.key.jk'],
		['Enter', 'help.key.enter'],
		['c', 'help.key.c'],
		['i', 'help.key.i'],
		['+ −', 'help.key.zoom'],
		['← →', 'help.key.arrows'],
		['[ ]', 'help.key.brackets'],
		['Esc', 'help.key.esc'],
	];
	return (
		<dialog ref={dialog} class="help" aria-labelledby="help-h" onClose={onClose}>
			<header>
				<h2 id="help-h">{t('help.title')}</h2>
				<button type="button" onClick={onClose}>
					{t('close')}
				</button>
			</header>
			<h3>{t('help.keys')}</h3>
			<dl>
				{keys.map(([key, text]) => (
					<div>
						<dt>
							<kbd>{key}</kbd>
						</dt>
						<dd>{t(text)}</dd>
					</div>
				))}
			</dl>
			<p class="single-keys">
				{t('help.single')}{' '}
				<button type="button" role="switch" aria-checked={singleKeys.value} onClick={toggleKeys}>
					{t(singleKeys.value ? 'help.single.on' : 'help.single.off')}
				</button>
			</p>
			<h3>{t('help.mouse')}</h3>
			<ul>
				<li>{t('help.mouse.drag')}</li>
				<li>{t('help.mouse.dbl')}</li>
				<li>{t('help.mouse.wheel')}</li>
			</ul>
			<p>{t('help.link')}</p>
		</dialog>
	);
}

const rowOf = (id: number | null) => document.querySelector<HTMLElement>(`#leaks tbody[data-site="${id}"]`);

/* The next row of the leaks as they are sorted and searched now. */
function stepRow(doc: Doc, by: number): void {
	const shown = (hook.model('leaks') as { order: number[] } | undefined)?.order ?? doc.leaks?.leaks.map((l) => l.site) ?? [];
	if (shown.length === 0) return;
	const at = site.value === null ? -1 : shown.indexOf(site.value);
	site.value = shown[at < 0 ? (by > 0 ? 0 : shown.length - 1) : Math.max(0, Math.min(shown.length - 1, at + by))]!;
	announce(siteOf(doc, site.value)?.name ?? '');
}

function useKeyboard(page: Page, doc: Doc, toggleHelp: () => void, closeHelp: () => void): void {
	useEffect(() => {
		let going = false;
		const onKey = (event: KeyboardEvent) => {
			const target = event.target as HTMLElement;
			const typing = target.closest('input, textarea, select, [contenteditable]') !== null;
			if (event.key === 'Escape') {
				if (typing) {
					query.value = '';
					target.blur();
				} else if (document.querySelector('dialog[open]')) closeHelp();
				else resetAll();
				return;
			}
			if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
			if (!singleKeys.value && event.key.length === 1) return;
			if (going && /^[0-9]$/.test(event.key)) {
				const id = sectionsOf(page, doc)[event.key === '0' ? 9 : Number(event.key) - 1];
				if (id) jump(id);
				going = false;
				event.preventDefault();
				return;
			}
			going = event.key === 'g';
			/* what the focus is on has its own use for these */
			if (event.key === 'Enter' && target !== document.body && !target.closest('section')) return;
			if (event.key === 'Enter' && target.closest('button, a, summary, select')) return;
			const step = span.value / 200;
			const cursor = time.value ?? span.value;
			const actions: Record<string, () => void> = {
				'/': () => document.getElementById('search')?.focus(),
				'?': toggleHelp,
				t: toggleTheme,
				l: toggleLang,
				'0': resetAll,
				'[': () => setRange(cursor, view.value[1]),
				']': () => setRange(view.value[0], cursor),
				j: () => stepRow(doc, 1),
				k: () => stepRow(doc, -1),
				Enter: () => rowOf(site.value)?.querySelector<HTMLElement>('.expand')?.click(),
				c: () => {
					const chosen = siteOf(doc, site.value ?? doc.leaks?.leaks[0]?.site ?? null);
					if (chosen) void copyText(stackText(chosen.stack));
				},
				i: () => document.querySelector<HTMLElement>('#flame [data-key="i"]')?.click(),
				'+': () => zoomAt(cursor, 0.5),
				'-': () => zoomAt(cursor, 2),
				ArrowLeft: () => (time.value = Math.max(0, cursor - step * (event.shiftKey ? 10 : 1))),
				ArrowRight: () => (time.value = Math.min(span.value, cursor + step * (event.shiftKey ? 10 : 1))),
			};
			const action = actions[event.key];
			if (!action) return;
			if (event.key.startsWith('Arrow') && target !== document.body) return;
			event.preventDefault();
			action();
			if (event.key.startsWith('Arrow')) announce(clock(time.value ?? 0, span.value));
		};
		addEventListener('keydown', onKey);
		return () => removeEventListener('keydown', onKey);
	}, [doc]);
}
