// SPDX-License-Identifier: MIT
/* The analysis document as the page holds it. The keys are specified in reports/FORMAT.md. */
import type { ColumnInfo, Columns } from './container';

export interface Frame {
	function: string | null;
	file: string | null;
	line: number | null;
	module: string | null;
	offset: number | null;
	inlined: boolean | null;
}

export type Severity = 'high' | 'medium' | 'low' | 'info' | 'ok';

/* The values that the sentence of a finding is about, by code. */
export type Params = Record<string, string | number | null>;

export interface Finding {
	code: string;
	severity: Severity;
	text: string; // in English
	params?: Params;
	section: string | null;
	site: number | null;
}

export interface Summary {
	estimated?: boolean;
	sample_bytes?: number | null;
	program: { name: string; exe: string | null; argv: string[] | string | null; pid: number | null };
	recording: {
		path: string | null;
		bytes: number | null;
		state: string | null;
		started_realtime_ns: number | null;
		tool_version: string | null;
	};
	duration_ns: number;
	complete: boolean;
	totals: {
		allocations: number;
		frees: number;
		bytes_allocated: number;
		live_blocks: number;
		live_bytes: number;
		usable_bytes: number | null;
		peak_bytes: number;
		peak_ns: number;
		events: number;
		lost_events: number;
		live_bytes_relative_error?: number | null;
		peak_bytes_relative_error?: number | null;
		bytes_allocated_relative_error?: number | null;
	};
	rss: { last: number; max: number } | null;
	threads: number;
	verdict: { code: string; severity: Severity; text: string; params?: Params };
	findings: Finding[];
}

export interface Leak {
	site: number;
	name: string;
	verdict: string;
	class: string;
	reason?: { code: string } & Record<string, string | number>;
	bytes: number;
	blocks: number;
	rate_bytes_per_s: number | null;
	rate_low: number | null;
	rate_high: number | null;
	score: number | null;
	first_ns: number | null;
	last_ns: number | null;
	threads: number | number[] | null;
	allocated_bytes: number | null;
	allocations: number | null;
	frees: number | null;
	peak_bytes: number | null;
	temporary: number | null;
	bytes_relative_error?: number | null;
	stack: Frame[];
}

export interface Other {
	sites: number;
	bytes: number;
	blocks?: number;
}

export interface Leaks {
	leaks: Leak[];
	other: Other | null;
	process: { verdict: string; resolvable_bytes_per_s: number | null } | null;
}

export interface Thread {
	id: number;
	threads?: number;
	folded?: boolean; // several that have ended, or all others (name null)
	tid: number | null;
	name: string | null;
	start_function: string | null;
	start_ns: number | null;
	end_ns: number | null;
	allocated_bytes: number;
	allocations: number;
	live_bytes: number;
	live_blocks: number;
	freed_by_others_bytes: number;
	rate_bytes_per_s: number | null;
}

export interface Threads {
	threads: Thread[];
	free_matrix: { ids: number[]; bytes: number[][] } | null;
}

/* Where the resident size is: rss is the sum of the terms, live_nr taken off, and the residual. */
export const WATERFALL_TERMS = [
	'file', 'stack', 'other', 'tracer', 'live_req', 'round', 'meta', 'pin_free', 'empty_res', 'live_nr', 'residual',
] as const;

export type WaterfallTerm = (typeof WATERFALL_TERMS)[number];

export type Waterfall = Record<WaterfallTerm | 'time_ns' | 'rss' | 'swap', number>;

export interface Closing {
	samples: number;
	p95_bytes: number;
	max_bytes: number;
	p95_pct: number;
	within_pct: number;
}

export interface PeakSurvivors {
	bytes: number;
	time_ns: number;
	from_ns: number;
	to_ns: number;
	survivors: number;
	survivor_bytes: number;
	survivor_pages: number;
}

export interface MmapThreshold {
	bytes: number;
	times_raised: number;
	time_ns: number;
	block_bytes: number;
	thread: number | null;
	site: number | null;
	name: string | null;
	stack: Frame[];
}

export interface Remedy {
	code: string;
	text: string; // in English
	saves_bytes: number;
	exact: boolean;
	value: number | null;
	set: { sites: number[]; names: string[]; free_bytes: number; pages: number; live_bytes: number } | null;
}

export interface Frag {
	at_ns: number;
	metrics: {
		live_bytes: number;
		footprint_bytes: number;
		overhead_ratio: number | null;
		internal_pct: number | null;
		pinned_free_bytes: number | null;
		largest_hole: number | null;
		hole_bytes: number | null;
		holes: number | null;
		uf_index: number[];
		page_occupancy_hist: number[];
		hole_size_hist: { blocks: number; bytes: number }[];
		pages: number | null;
		huge_util: number | null;
		empty_bytes?: number | null;
		trimmable_bytes?: number | null;
	};
	residency: string | null;
	sample_ns?: number | null;
	waterfall?: Waterfall | null;
	closing?: Closing | null;
	peak?: PeakSurvivors | null;
	mmap_threshold?: MmapThreshold | null;
	remedies?: Remedy[];
	sites: {
		site: number;
		name: string;
		sole: number;
		shapley: number;
		any: number;
		pages_sole: number;
		density: number | null;
		age_ns: number | null;
		stack: Frame[];
	}[];
	verdict: { code: string; text: string } | null;
}

export interface HeapError {
	kind: string;
	address: number | string | null;
	time_ns: number;
	thread: number;
	stack: Frame[];
	allocated: Frame[] | null;
	freed: Frame[] | null;
}

export interface HeapMap {
	rows: number;
	columns: number;
	bin_bytes: number;
	regions: { start: number; end: number; first_row: number; n_rows: number; kind: string }[];
	time_ns: number[];
}

export interface Flame {
	functions: string[];
	metrics: string[];
	other: Other | null;
}

export interface Quality {
	events: number | null;
	events_written: number | null;
	unknown_frees: number | null;
	overlaps: number | null;
	losses: { first_ns: number; last_ns: number; thread: number | null; events: number; reason: string }[];
	symbolised_pct: number | null;
	frames_resolved: number | null;
	frames: number | null;
	tracer_bytes: number | null;
	bytes_per_event: number | null;
	meta: Record<string, string | number | null> | null;
}

export interface Boot {
	schema: number;
	tool: string;
	lang: string;
	columns: ColumnInfo[];
	summary?: Summary;
	leaks?: Leaks;
	threads?: Threads;
	frag?: Frag | Unavailable;
	errors?: { errors: HeapError[] };
	map?: HeapMap | Unavailable;
	flame?: Flame;
	quality?: Quality;
}

/* What a section holds instead of its keys when the recording can't answer it. */
export interface Unavailable {
	unavailable: string;
}

export interface Doc extends Omit<Boot, 'frag' | 'map'> {
	frag?: Frag;
	map?: HeapMap;
	data: Columns;
}

/* A section that is not there, and one that only says why, are alike to who draws it. */
export function present<T extends object>(section: T | Unavailable | undefined): T | undefined {
	return section && !('unavailable' in section) ? section : undefined;
}

export const SCHEMA = 1;

/* "fn at file:line (module+0xoff)", as a debugger prints it. */
export function frameText(frame: Frame): string {
	const where = frame.file ? ` at ${frame.file}${frame.line ? `:${frame.line}` : ''}` : '';
	const module =
		frame.module && frame.offset !== null && frame.offset !== undefined
			? ` (${frame.module}+0x${frame.offset.toString(16)})`
			: frame.module
				? ` (${frame.module})`
				: '';
	return `${frame.function ?? '??'}${where}${module}${frame.inlined ? ' [inlined]' : ''}`;
}

export function stackText(stack: Frame[]): string {
	return stack.map((frame, i) => `#${i} ${frameText(frame)}`).join('\n');
}

export function baseName(path: string | null | undefined): string {
	return path ? path.slice(path.lastIndexOf('/') + 1) : '';
}
