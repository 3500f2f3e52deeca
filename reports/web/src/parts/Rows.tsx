// SPDX-License-Identifier: MIT
/* A table whose rows may have a stack. */
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import type { Stack as StackOf } from '../doc';
import { t } from '../i18n';
import { Stack } from '../sections/Leaks';

interface Column<Row> {
	head: string;
	num?: boolean;
	cell: (row: Row) => ComponentChildren;
}

/* The first rows; those that have a stack open to it. */
export function Rows<Row extends { stack?: StackOf | null }>(props: {
	label: string;
	columns: Column<Row>[];
	rows: Row[];
	name: (row: Row) => string;
	rest?: ComponentChildren;
	first?: number; /* rows that are there at once */
}) {
	const [all, setAll] = useState(false);
	const [open, setOpen] = useState<number | null>(null);
	const { columns, rows, label, first = 10 } = props;
	const stacks = rows.some((row) => row.stack);
	return (
		<>
			<h3>{label}</h3>
			<div class="scroll" tabIndex={0} role="group" aria-label={label}>
				<table class="plain">
					<thead>
						<tr>
							{columns.map((column) => (
								<th scope="col" class={column.num ? 'num' : undefined}>{column.head}</th>
							))}
						</tr>
					</thead>
					{rows.slice(0, all ? rows.length : first).map((row, i) => (
						<tbody>
							<tr>
								{columns.map((column, c) => (
									<td class={column.num ? 'num' : undefined}>
										{c === 0 && stacks && (
											<button
												type="button"
												class="expand"
												aria-expanded={open === i}
												aria-label={t('expand', props.name(row))}
												disabled={!row.stack || row.stack.length === 0}
												onClick={() => setOpen(open === i ? null : i)}
											>
												<svg width="10" height="10" viewBox="0 0 10 10" aria-hidden="true">
													<path d={open === i ? 'M0 2h10L5 9z' : 'M2 0v10l7-5z'} />
												</svg>
											</button>
										)}
										{column.cell(row)}
									</td>
								))}
							</tr>
							{open === i && row.stack && (
								<tr class="detail">
									<td colSpan={columns.length}><Stack stack={row.stack} /></td>
								</tr>
							)}
						</tbody>
					))}
				</table>
			</div>
			{rows.length > first && !all && (
				<button type="button" class="after" onClick={() => setAll(true)}>{t('memory.all', rows.length)}</button>
			)}
			{props.rest}
		</>
	);
}
