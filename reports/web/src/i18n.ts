// SPDX-License-Identifier: MIT
/* Texts by key, in the language of the moment. */
import { en, zh, type Key } from './strings';
import { lang } from './store';

export type { Key } from './strings';

export function t(key: Key, ...parameters: (string | number)[]): string {
	const text = (lang.value === 'zh' ? zh : en)[key];
	return text.replace(/\{(\d)\}/g, (_, i: string) => String(parameters[Number(i)] ?? ''));
}

/* A text that may not have a key of its own (a verdict of a newer analyzer): shown as it is. */
export function tOr(prefix: string, name: string): string {
	const key = `${prefix}.${name}` as Key;
	return key in en ? t(key) : name.replaceAll('_', ' ');
}
