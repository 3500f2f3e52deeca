// SPDX-License-Identifier: MIT
/* Blocks of memory: where they lie in a stretch of it, and as a table. */
import { alpha, lines as palette, muted, other } from '../colour';
import { address, bytes, duration, visible } from '../format';
import { t } from '../i18n';
import { selectSite, site, theme } from '../store';
import { hideTip, showTip } from './Tip';

export interface Block {
	address: number;
	size: number;
	site: number;
	name: string;
	age_ns: number;
	thread: number;
}

const STRIP = 44;

/* The blocks of a stretch of memory where they lie; what is free is hatched. */
export function BlockStrip({ start, bytes: size, blocks }: { start: number; bytes: number; blocks: Block[] }) {
	const now = theme.value;
	const chosen = site.value;
	const ids = [...new Set(blocks.map((block) => block.site))];
	const colour = (id: number) => {
		const i = ids.indexOf(id);
		return chosen !== null && chosen !== id ? alpha(other[now], 0.6) : i < 8 ? palette[now][i]! : other[now];
	};
	return (
		<svg class="strip" width="100%" height={STRIP + 16} role="img" aria-label={t('pins.strip', address(start), blocks.length)}>
			<defs>
				<pattern id="free" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
					<line x1="0" y1="0" x2="0" y2="6" stroke={alpha(muted[now], 0.5)} stroke-width="1.5" />
				</pattern>
			</defs>
			<rect class="strip-free" x="0" y="0" width="100%" height={STRIP} fill="url(#free)" />
			{blocks.map((block) => {
				const from = Math.max(0, block.address - start);
				const to = Math.min(size, block.address + block.size - start);
				return (
					<rect
						x={`${(100 * from) / size}%`}
						width={`${Math.max(0.25, (100 * (to - from)) / size)}%`}
						height={STRIP}
						fill={colour(block.site)}
						onMouseMove={(event: MouseEvent) =>
							showTip(event, [visible(block.name), `${address(block.address)}, ${bytes(block.size)}`, duration(block.age_ns)])
						}
						onMouseLeave={hideTip}
						onClick={() => selectSite(block.site)}
					/>
				);
			})}
			<text x="0" y={STRIP + 13}>{address(start)}</text>
			<text x="100%" y={STRIP + 13} text-anchor="end">{address(start + size)}</text>
		</svg>
	);
}

export function BlockTable({ blocks, most }: { blocks: Block[]; most: number }) {
	return (
		<div class="scroll" tabIndex={0} role="group" aria-label={t('pins.page')}>
			<table class="plain">
				<thead>
					<tr>
						<th scope="col">{t('errors.address')}</th>
						<th scope="col" class="num">{t('col.size')}</th>
						<th scope="col" class="num">{t('frag.sites.age')}</th>
						<th scope="col" class="num">{t('selected.thread')}</th>
						<th scope="col">{t('col.site')}</th>
					</tr>
				</thead>
				<tbody>
					{blocks.slice(0, most).map((block) => (
						<tr class={site.value === block.site ? 'chosen' : undefined}>
							<td><code>{address(block.address)}</code></td>
							<td class="num">{bytes(block.size)}</td>
							<td class="num">{duration(block.age_ns)}</td>
							<td class="num">{block.thread || '–'}</td>
							<td><SiteButton id={block.site} name={block.name} /></td>
						</tr>
					))}
				</tbody>
			</table>
		</div>
	);
}

export function SiteButton({ id, name }: { id: number; name: string }) {
	return (
		<button type="button" class="site-name" aria-pressed={site.value === id} onClick={() => selectSite(id)}>
			{visible(name)}
		</button>
	);
}
