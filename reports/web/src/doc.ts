// SPDX-License-Identifier: MIT
/* The analysis document as the page holds it. Its types are made from reports/FORMAT.md (schema.mjs). */
import type { ColumnInfo, Columns } from './container';
import type {
	Buddy,
	Compact,
	Document,
	Frag,
	Frame,
	HeapMap,
	Pages,
	Reallocs,
	Unavailable,
	Waterfall,
	COLUMN_TYPES,
} from './schema';

export type * from './schema';

export type ColumnName = keyof typeof COLUMN_TYPES;

/* Where the resident size is: rss is the sum of the terms, live_nr taken off, and the residual. */
export const WATERFALL_TERMS = [
	'file', 'stack', 'other', 'tracer', 'live_req', 'round', 'meta', 'pin_free', 'empty_res', 'live_nr', 'residual',
] as const satisfies readonly (keyof Waterfall)[];

export type WaterfallTerm = (typeof WATERFALL_TERMS)[number];

/* What the boot block holds: the document, and what the page must know about its columns. */
export interface Boot extends Document {
	tool: string;
	lang: string;
	columns: ColumnInfo[];
}

type Partly = 'frag' | 'map' | 'buddy' | 'compact' | 'reallocs' | 'pages';

export interface Doc extends Omit<Boot, Partly> {
	frag?: Frag | undefined;
	map?: HeapMap | undefined;
	buddy?: Buddy | undefined;
	compact?: Compact | undefined;
	reallocs?: Reallocs | undefined;
	pages?: Pages | undefined;
	data: Columns;
}

/* A section that is not there, and one that only says why, are alike to who draws it. */
function present<T extends object>(section: T | Unavailable | undefined): T | undefined {
	return section && !('unavailable' in section) ? section : undefined;
}

export function toDoc(boot: Boot, data: Columns): Doc {
	return {
		...boot,
		frag: present(boot.frag),
		map: present(boot.map),
		buddy: present(boot.buddy),
		compact: present(boot.compact),
		reallocs: present(boot.reallocs),
		pages: present(boot.pages),
		data,
	};
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
