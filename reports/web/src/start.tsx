// SPDX-License-Identifier: MIT
/* Start: read the boot block, then put the application in the place of the floor. */
import { render } from 'preact';
import { App, type Page } from './app';
import { Columns, readBoot } from './container';
import { toDoc, type Boot } from './doc';
import { t } from './i18n';
import { hook } from './model';
import { siteByKey, siteKey } from './names';
import { startStore } from './store';

function complain(text: string): void {
	const note = document.createElement('p');
	note.className = 'banner banner-high';
	note.setAttribute('role', 'alert');
	note.textContent = text;
	document.getElementById('app')!.append(note);
}

export async function start(page: Page): Promise<void> {
	Object.assign(window, { __report: hook });
	if (typeof DecompressionStream === 'undefined') {
		complain(t('banner.browser'));
		return;
	}
	let boot: Boot;
	try {
		boot = (await readBoot()) as Boot;
	} catch (error) {
		complain(t('damaged', error instanceof Error ? error.message : String(error)));
		return;
	}
	const doc = toDoc(boot, new Columns(boot.columns));
	startStore(doc.summary?.duration_ns ?? doc.node?.last_ns ?? 1, doc.lang, {
		key: (id) => siteKey(doc, id),
		id: (key) => siteByKey(doc, key),
	});
	render(<App doc={doc} page={page} onReady={() => (hook.ready = true)} />, document.getElementById('app')!);
	document.getElementById('floor')!.hidden = true;
}
