// SPDX-License-Identifier: MIT
/* What a chart's cursor is on, and what a button did, for readers who hear the page. */
import { signal } from '@preact/signals';

export const spoken = signal('');
export const toast = signal('');

let timer = 0;
let toastTimer = 0;

export function announce(text: string, visibly = false): void {
	clearTimeout(timer);
	timer = window.setTimeout(() => (spoken.value = text), visibly ? 0 : 250);
	if (!visibly) return;
	toast.value = text;
	clearTimeout(toastTimer);
	toastTimer = window.setTimeout(() => (toast.value = ''), 1800);
}
