// SPDX-License-Identifier: MIT
/* The frame that every section shares: a question, its answer, tools, how to read it, a table twin. */
import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import type { Values } from '../container';
import type { Doc } from '../doc';
import { t, tOr } from '../i18n';
import { announce } from './announce';
import { copyPicture } from './picture';

export interface SectionProps {
	id: string;
	question: string;
	answer?: ComponentChildren;
	how?: string;
	tools?: ComponentChildren;
	half?: boolean; // shares its row with another one
	bare?: boolean; // has nothing to copy
	children?: ComponentChildren;
}

export function Section({ id, question, answer, how, tools, half, bare, children }: SectionProps) {
	const element = useRef<HTMLElement>(null);
	return (
		<section id={id} ref={element} class={`panel ${half ? 'half' : ''}`} aria-labelledby={`${id}-h`}>
			<header class="panel-head">
				<h2 id={`${id}-h`}>{question}</h2>
				{tools && <div class="tools">{tools}</div>}
			</header>
			{answer && <p class="answer">{answer}</p>}
			{children}
			{(how || !bare) && (
				<div class="panel-foot">
					{how && (
						<details class="how">
							<summary>{t('how')}</summary>
							<p>{how}</p>
						</details>
					)}
					{!bare && (
						<span class="copies">
							<button type="button" onClick={() => void copyText(sectionCsv(element.current!))}>
								{t('copy.csv')}
							</button>
							<button type="button" onClick={() => void copyPicture(element.current!)}>
								{t('copy.png')}
							</button>
						</span>
					)}
				</div>
			)}
		</section>
	);
}

/* A word with its definition at hand. */
export function Term({ name, label }: { name: string; label?: string }) {
	return (
		<details class="def">
			<summary>{label ?? tOr('def', `${name}.name`)}</summary>
			<div>{tOr('def', name)}</div>
		</details>
	);
}

/* ---- table twin and CSV ---------------------------------------------------------------------- */

export type Cell = string | number | null;

export interface Twin {
	caption: string;
	head: string[];
	rows: () => Cell[][];
	show?: (cell: Cell, column: number) => string;
}

const TWIN_ROWS = 200;

/* What the page's tables hold, by the id of their element; rows are only made when asked for. */
const twins = new Map<string, Twin>();

/* All tables of a section, one below the other. */
function sectionCsv(section: HTMLElement): string {
	return [...section.querySelectorAll('.twin')]
		.map((element) => twins.get(element.id))
		.filter((twin) => twin !== undefined)
		.map((twin) => toCsv(twin.head, twin.rows()))
		.join('\r\n');
}

export function toCsv(head: string[], rows: Cell[][]): string {
	const field = (cell: Cell) => {
		const text = cell === null ? '' : String(cell);
		/* a name that begins like a formula must not become one in a spreadsheet */
		const safe = typeof cell === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
		return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
	};
	return `${[head, ...rows].map((row) => row.map(field).join(',')).join('\r\n')}\r\n`;
}

export async function copyText(text: string): Promise<void> {
	let done = false;
	try {
		await navigator.clipboard.writeText(text);
		done = true;
	} catch {
		/* file: pages may lack the clipboard API: the old way asks nobody */
		const area = document.createElement('textarea');
		area.value = text;
		area.className = 'offscreen';
		document.body.append(area);
		area.select();
		done = document.execCommand('copy');
		area.remove();
	}
	announce(t(done ? 'copied' : 'copy.failed'), true);
}

/* Evenly spread rows: a table of thousands helps nobody, and the CSV has them all. */
function thin(rows: Cell[][]): Cell[][] {
	if (rows.length <= TWIN_ROWS) return rows;
	return Array.from(
		{ length: TWIN_ROWS },
		(_, i) => rows[Math.round((i * (rows.length - 1)) / (TWIN_ROWS - 1))]!,
	);
}

export function TableTwin({ twin, id }: { twin: Twin; id?: string }) {
	const [open, setOpen] = useState(false);
	const own = useId();
	const key = id ?? own;
	twins.set(key, twin);
	const all = open ? twin.rows() : [];
	const rows = thin(all);
	return (
		<details class="twin" id={key} onToggle={(e) => setOpen(e.currentTarget.open)}>
			<summary>{t('table')}</summary>
			{open && (
				<>
					{rows.length < all.length && (
						<p class="twin-tools muted">{t('table.rows', rows.length, all.length)}</p>
					)}
					<div class="scroll" tabIndex={0} role="group" aria-label={twin.caption}>
						<table class="plain">
							<caption>{twin.caption}</caption>
							<thead>
								<tr>
									{twin.head.map((name) => (
										<th scope="col">{name}</th>
									))}
								</tr>
							</thead>
							<tbody>
								{rows.map((row) => (
									<tr>
										{row.map((cell, i) => (
											<td class={typeof cell === 'number' ? 'num' : undefined}>
												{twin.show ? twin.show(cell, i) : (cell ?? '–')}
											</td>
										))}
									</tr>
								))}
							</tbody>
						</table>
					</div>
				</>
			)}
		</details>
	);
}

/* ---- waiting for columns --------------------------------------------------------------------- */

export type Loaded = { values: Values[] } | { error: string } | null;

export function useColumns(doc: Doc, names: readonly string[]): Loaded {
	const [state, setState] = useState<Loaded>(null);
	useEffect(() => {
		let alive = true;
		Promise.all(names.map((name) => doc.data.load(name))).then(
			(values) => alive && setState({ values }),
			(error: unknown) =>
				alive && setState({ error: error instanceof Error ? error.message : String(error) }),
		);
		return () => {
			alive = false;
		};
	}, [doc, names.join()]);
	return state;
}

export function Waiting({ state }: { state: Loaded }) {
	if (state && 'error' in state)
		return (
			<p class="damaged" role="alert">
				{t('damaged', state.error)}
			</p>
		);
	return <p class="muted">{t('loading')}</p>;
}
