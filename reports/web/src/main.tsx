// SPDX-License-Identifier: MIT
/* Start: read the boot block, then put the application in the place of the floor. */
import { render } from 'preact';
import { App } from './app';
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

async function start(): Promise<void> {
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
	startStore(doc.summary?.duration_ns ?? 1, doc.lang, {
		key: (id) => siteKey(doc, id),
		id: (key) => siteByKey(doc, key),
	});
	render(<App doc={doc} />, document.getElementById('app')!);
	document.getElementById('floor')!.hidden = true;
	hook.ready = true;
}

Object.assign(window, { __report: hook });
void start();
