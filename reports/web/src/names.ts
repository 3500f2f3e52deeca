// SPDX-License-Identifier: MIT
/*
 * Sites by id: their names and stacks from whichever section lists them, and an id that outlives the
 * recording
 *
 * The document's ids are those of one recording. In the address of the page a site is a hash of its
 * functions and lines, so that a link to a finding holds for the next run of the same program, too.
 */
import type { Doc, Stack } from './doc';

export interface KnownSite {
	site: number;
	name: string;
	stack: Stack;
	key: string;
}

const known = new WeakMap<Doc, { byId: Map<number, KnownSite>; byKey: Map<string, number> }>();

function hashStack(stack: Stack): string {
	let hash = 2166136261;
	for (const frame of stack) {
		const text = `${frame.function ?? `${frame.module}+${frame.offset}`}:${frame.line ?? ''}\n`;
		for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 16777619);
	}
	return (hash >>> 0).toString(16).padStart(8, '0');
}

function sitesOf(doc: Doc) {
	let found = known.get(doc);
	if (found) return found;
	found = { byId: new Map(), byKey: new Map() };
	for (const list of [doc.leaks?.leaks, doc.sites?.sites, doc.frag?.sites, doc.reallocs?.sites])
		for (const { site, name, stack } of list ?? []) {
			if (found.byId.has(site)) continue;
			/* stacks that differ by addresses alone: the first keeps the plain hash */
			const hash = hashStack(stack ?? []);
			let key = hash;
			for (let n = 2; found.byKey.has(key); n++) key = `${hash}.${n}`;
			found.byKey.set(key, site);
			found.byId.set(site, { site, name, stack: stack ?? [], key });
		}
	known.set(doc, found);
	return found;
}

export function siteOf(doc: Doc, id: number | null): KnownSite | undefined {
	return id === null ? undefined : sitesOf(doc).byId.get(id);
}

export function nameOf(doc: Doc, id: number): string {
	return sitesOf(doc).byId.get(id)?.name ?? `#${id}`;
}

/* From and to the address; an id of a site that nobody lists is written as it is. */
export function siteKey(doc: Doc, id: number): string {
	return sitesOf(doc).byId.get(id)?.key ?? `i${id}`;
}

export function siteByKey(doc: Doc, key: string): number | null {
	const plain = /^i?(\d{1,10})$/.exec(key);
	return sitesOf(doc).byKey.get(key) ?? (plain ? Number(plain[1]) : null);
}
