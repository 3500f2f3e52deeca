// SPDX-License-Identifier: MIT
/* The page about a program's recording. */
import type { Page } from './app';
import type { Doc } from './doc';
import { count, duration, visible, wallClock } from './format';
import { t } from './i18n';
import { Compact } from './sections/Compact';
import { Diff } from './sections/Diff';
import { Errors } from './sections/Errors';
import { Flame } from './sections/Flame';
import { Frag } from './sections/Frag';
import { HeapMap } from './sections/HeapMap';
import { Leaks } from './sections/Leaks';
import { Lifetimes } from './sections/Lifetimes';
import { Memory } from './sections/Memory';
import { Orders } from './sections/Orders';
import { Holes, Pages } from './sections/Pages';
import { Pins } from './sections/Pins';
import { Quality } from './sections/Quality';
import { Remedies } from './sections/Remedies';
import { Slots } from './sections/Slots';
import { Threads } from './sections/Threads';
import { Timeline } from './sections/Timeline';
import { Verdict } from './sections/Verdict';
import { Waterfall } from './sections/Waterfall';
import { start } from './start';
import { lang } from './store';

function Title({ doc }: { doc: Doc }) {
	const summary = doc.summary;
	if (!summary) return null;
	return (
		<h1 class="program">
			<span class="program-name">{visible(summary.program.name)}</span>
			<span class="program-facts">
				{[
					summary.program.pid === null ? '' : t('pid', summary.program.pid),
					wallClock(summary.recording.started_realtime_ns, lang.value),
					duration(summary.duration_ns),
					t('events', count(summary.totals.events)),
				]
					.filter((part) => part !== '')
					.join(' · ')}
			</span>
		</h1>
	);
}

/* Sections without data say so, but for those that are about one kind of recording. */
function has(doc: Doc, section: string): boolean {
	const held: Record<string, unknown> = {
		diff: doc.diff, leaks: doc.leaks, flame: doc.flame, threads: doc.threads, lifetimes: doc.lifetimes,
		errors: doc.errors, quality: doc.quality, timeline: doc.summary, slots: doc.frag?.slabs,
		memory: doc.mapped || doc.mappings || doc.pools,
	};
	return !(section in held) || Boolean(held[section]);
}

/* Two halves that follow one another share a row. */
const page: Page = {
	sections: [
		['timeline', Timeline],
		['diff', Diff],
		['leaks', Leaks],
		['flame', Flame],
		['threads', Threads],
		['rss', Waterfall],
		['memory', Memory],
		['map', HeapMap],
		['pages', Pages],
		['holes', Holes],
		['pins', Pins],
		['slots', Slots],
		['remedies', Remedies],
		['frag', Frag],
		['orders', Orders],
		['compact', Compact],
		['lifetimes', Lifetimes],
		['errors', Errors],
		['quality', Quality],
	],
	has,
	Title,
	First: Verdict,
};

void start(page);
