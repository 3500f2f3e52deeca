// SPDX-License-Identifier: MIT
/*
 * What a chart holds, for tests and for readers of the console: `__report.model('timeline').max`.
 * Pixels show that something was drawn; the model shows that it is the document's value.
 */

import { pending } from './container';

export interface ReportHook {
	ready: boolean; // all sections are on the page
	pending: number; // columns that are being read
	model: (name: string) => unknown;
	models: string[];
}

const models = new Map<string, () => unknown>();

export const hook: ReportHook = {
	ready: false,
	get pending() {
		return pending();
	},
	model: (name) => models.get(name)?.(),
	get models() {
		return [...models.keys()];
	},
};

export function model(name: string, read: () => unknown): void {
	models.set(name, read);
}
