// SPDX-License-Identifier: MIT
/* The page about a machine's memory. */
import type { Page } from './app';
import type { Doc } from './doc';
import { count, duration, visible } from './format';
import { addTexts, t } from './i18n';
import { Advice, Models } from './sections/Advice';
import { Blocks, Demand, MachineVerdict, Slabs, Sources, Zones } from './sections/Machine';
import { start } from './start';
import { machineEn, machineZh } from './strings-machine';

function Title({ doc }: { doc: Doc }) {
	const { kernel, cpus, moments, duration_ns } = doc.node!;
	return (
		<h1 class="program">
			<span class="program-name">{t('machine.title')}</span>
			<span class="program-facts">
				{`Linux ${visible(kernel ?? '?')} · ${t('machine.facts', cpus, count(moments), duration(duration_ns))}`}
			</span>
		</h1>
	);
}

const page: Page = {
	sections: [
		['advice', Advice],
		['zones', Zones],
		['blocks', Blocks],
		['demand', Demand],
		['slabs', Slabs],
		['models', Models],
		['sources', Sources],
	],
	has: () => true,
	Title,
	First: MachineVerdict,
};

addTexts(machineEn, machineZh);
void start(page);
