// SPDX-License-Identifier: MIT
/*
 * What the reader is looking at: one set of signals that every section reads, kept in the URL hash
 *
 *   #v=1&r=A-B&t=NS&s=SITE&th=THREAD&a=HEX-HEX&m=METRIC&c=COLOUR&k=SECTION&theme=dark&lang=zh
 *
 * Times are nanoseconds since the start of the recording. A range of the whole run is not written. SITE
 * outlives the recording (names.ts).
 */
import { batch, computed, effect, signal } from '@preact/signals';

export type Theme = 'light' | 'dark';
export type Lang = 'en' | 'zh';

export const range = signal<readonly [number, number] | null>(null); // null: the whole run
export const time = signal<number | null>(null); // the cursor, and the moment of momentary charts
export const site = signal<number | null>(null);
export const thread = signal<number | null>(null);
export const addresses = signal<readonly [number, number] | null>(null);
export const pageShare = signal<number | null>(null); // pages so full: a bin of the histogram
export const colourBy = signal('occupancy');
export const metric = signal('leaked');
export const section = signal<string | null>(null); // where the reader went last
export const query = signal('');

/* The moment under the pointer, in all charts at once; not kept in the address. */
export const hover = signal<number | null>(null);

export const theme = signal<Theme>('light');
export const lang = signal<Lang>('en');

/* The length of the run; set once, before anything renders. */
export const span = signal(1);

export const view = computed<readonly [number, number]>(() => range.value ?? [0, span.value]);

export interface HashState {
	range: readonly [number, number] | null;
	time: number | null;
	site: string | null;
	thread: number | null;
	addresses: readonly [number, number] | null;
	metric: string | null;
	colour: string | null;
	section: string | null;
	theme: Theme | null;
	lang: Lang | null;
}

const whole = (text: string | null) => (text !== null && /^\d{1,16}$/.test(text) ? Number(text) : null);

export function parseHash(hash: string): HashState {
	const fields = new URLSearchParams(hash.replace(/^#/, ''));
	const bounds = /^(\d{1,16})-(\d{1,16})$/.exec(fields.get('r') ?? '');
	const a = bounds ? Number(bounds[1]) : 0;
	const b = bounds ? Number(bounds[2]) : 0;
	const named = fields.get('theme');
	const tongue = fields.get('lang');
	const word = (name: string) => {
		const text = fields.get(name);
		return text !== null && /^[a-z]{1,16}$/.test(text) ? text : null;
	};
	const s = fields.get('s') ?? '';
	const place = /^([0-9a-f]{1,13})-([0-9a-f]{1,13})$/.exec(fields.get('a') ?? '');
	const low = place ? parseInt(place[1]!, 16) : 0;
	const high = place ? parseInt(place[2]!, 16) : 0;
	return {
		range: b > a ? [a, b] : null,
		time: whole(fields.get('t')),
		site: /^i?[0-9a-f]{1,16}(\.\d{1,3})?$/.test(s) ? s : null,
		thread: whole(fields.get('th')),
		addresses: high > low ? [low, high] : null,
		metric: word('m'),
		colour: word('c'),
		section: word('k'),
		theme: named === 'light' || named === 'dark' ? named : null,
		lang: tongue === 'en' || tongue === 'zh' ? tongue : null,
	};
}

export function formatHash(state: HashState): string {
	const fields: string[] = ['v=1'];
	if (state.range) fields.push(`r=${Math.round(state.range[0])}-${Math.round(state.range[1])}`);
	if (state.time !== null) fields.push(`t=${Math.round(state.time)}`);
	if (state.site !== null) fields.push(`s=${state.site}`);
	if (state.thread !== null) fields.push(`th=${state.thread}`);
	if (state.addresses) fields.push(`a=${state.addresses.map((x) => x.toString(16)).join('-')}`);
	if (state.metric) fields.push(`m=${state.metric}`);
	if (state.colour) fields.push(`c=${state.colour}`);
	if (state.section) fields.push(`k=${state.section}`);
	if (state.theme) fields.push(`theme=${state.theme}`);
	if (state.lang) fields.push(`lang=${state.lang}`);
	return fields.length > 1 ? `#${fields.join('&')}` : '';
}

export function clampRange(a: number, b: number): readonly [number, number] | null {
	const low = Math.max(0, Math.min(a, b));
	const high = Math.min(span.value, Math.max(a, b));
	if (high - low < span.value * 1e-6) return null;
	return low <= 0 && high >= span.value ? null : [low, high];
}

export function setRange(a: number, b: number): void {
	range.value = clampRange(a, b);
}

/* Zoom around a moment: a factor below 1 comes closer. */
export function zoomAt(moment: number, factor: number): void {
	const [a, b] = view.value;
	setRange(moment - (moment - a) * factor, moment + (b - moment) * factor);
}

export function resetAll(): void {
	batch(() => {
		range.value = null;
		time.value = null;
		site.value = null;
		thread.value = null;
		addresses.value = null;
		pageShare.value = null;
	});
}

export function selectSite(id: number | null): void {
	site.value = site.value === id ? null : id;
}

export function selectThread(id: number | null): void {
	thread.value = thread.value === id ? null : id;
}

/* Single keys can be switched off, for those who speak to their computer (WCAG 2.1.4). */
export const singleKeys = signal(true);

/* ---- keeping it ------------------------------------------------------------------------------ */

function stored(name: string): string | null {
	try {
		return localStorage.getItem(`fragtrace.${name}`);
	} catch {
		return null;
	}
}

function store(name: string, value: string): void {
	try {
		localStorage.setItem(`fragtrace.${name}`, value);
	} catch {
		// a file: page may have no storage: the hash still carries the choice
	}
}

/* Only what the reader chose goes into the hash; what the system prefers does not. */
const chosenTheme = signal(false);
const chosenLang = signal(false);

export function toggleTheme(): void {
	batch(() => {
		chosenTheme.value = true;
		theme.value = theme.value === 'dark' ? 'light' : 'dark';
	});
	store('theme', theme.value);
}

export function toggleKeys(): void {
	singleKeys.value = !singleKeys.value;
	store('keys', singleKeys.value ? 'on' : 'off');
}

export function toggleLang(): void {
	batch(() => {
		chosenLang.value = true;
		lang.value = lang.value === 'zh' ? 'en' : 'zh';
	});
	store('lang', lang.value);
}

/* Ids of sites for the address, and back: names.ts, which knows the document. */
export interface SiteIds {
	key: (id: number) => string;
	id: (key: string) => number | null;
}

let ids: SiteIds = { key: String, id: Number };

function applyHash(): void {
	const state = parseHash(location.hash);
	batch(() => {
		range.value = state.range ? clampRange(...state.range) : null;
		time.value = state.time;
		site.value = state.site === null ? null : ids.id(state.site);
		addresses.value = state.addresses;
		colourBy.value = state.colour ?? 'occupancy';
		section.value = state.section;
		thread.value = state.thread;
		metric.value = state.metric ?? 'leaked';
		if (state.theme) {
			theme.value = state.theme;
			chosenTheme.value = true;
		}
		if (state.lang) {
			lang.value = state.lang;
			chosenLang.value = true;
		}
	});
}

export function startStore(duration: number, defaultLang: string, siteIds: SiteIds): void {
	ids = siteIds;
	const dark = matchMedia('(prefers-color-scheme: dark)');
	const saved = stored('theme');
	const tongue = stored('lang') ?? (navigator.language.startsWith('zh') ? 'zh' : defaultLang);

	span.value = Math.max(1, duration);
	theme.value = saved === 'light' || saved === 'dark' ? saved : dark.matches ? 'dark' : 'light';
	lang.value = tongue === 'zh' ? 'zh' : 'en';
	singleKeys.value = stored('keys') !== 'off';
	dark.addEventListener('change', () => {
		if (!chosenTheme.value && !stored('theme')) theme.value = dark.matches ? 'dark' : 'light';
	});
	applyHash();
	addEventListener('hashchange', applyHash);

	effect(() => {
		document.documentElement.dataset.theme = theme.value;
		document.documentElement.lang = lang.value === 'zh' ? 'zh-CN' : 'en';
	});

	let timer = 0;
	effect(() => {
		const hash = formatHash({
			range: range.value,
			time: time.value,
			site: site.value === null ? null : ids.key(site.value),
			thread: thread.value,
			addresses: addresses.value,
			metric: metric.value === 'leaked' ? null : metric.value,
			colour: colourBy.value === 'occupancy' ? null : colourBy.value,
			section: section.value,
			theme: chosenTheme.value ? theme.value : null,
			lang: chosenLang.value ? lang.value : null,
		});
		/* a moving cursor must not write the address a hundred times a second */
		clearTimeout(timer);
		timer = window.setTimeout(() => {
			if (location.hash !== hash)
				history.replaceState(null, '', hash || location.pathname + location.search);
		}, 120);
	});
}
