// SPDX-License-Identifier: MIT
/* Texts by key, in the language of the moment. */
import { en, zh, type Key as ProgramKey } from './strings';
import type { machineEn } from './strings-machine';
import { lang } from './store';

export type Key = ProgramKey | keyof typeof machineEn;

const texts: Record<'en' | 'zh', Record<string, string>> = { en, zh };

/* Texts of a page that is not the program's. */
export function addTexts(more: Record<string, string>, moreZh: Record<string, string>): void {
	texts.en = { ...texts.en, ...more };
	texts.zh = { ...texts.zh, ...moreZh };
}

export function t(key: Key, ...parameters: (string | number)[]): string {
	const text = texts[lang.value][key] ?? key;
	return text.replace(/\{(\d)\}/g, (_, i: string) => String(parameters[Number(i)] ?? ''));
}

/* A text that may not have a key of its own (a verdict of a newer analyzer): shown as it is. */
export function tOr(prefix: string, name: string): string {
	const key = `${prefix}.${name}` as Key;
	return key in texts.en ? t(key) : name.replaceAll('_', ' ');
}
