// SPDX-License-Identifier: MIT
/* One tooltip for the page: lines of text beside the pointer. Text only, whatever it says. */
import { signal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';

const tip = signal<{ x: number; y: number; lines: string[] } | null>(null);

export function showTip(event: MouseEvent, lines: string[]): void {
	tip.value = { x: event.clientX, y: event.clientY, lines };
}

export function hideTip(): void {
	tip.value = null;
}

export function Tip() {
	const box = useRef<HTMLDivElement>(null);
	const now = tip.value;
	useLayoutEffect(() => {
		const element = box.current;
		if (!element || !now) return;
		const { width, height } = element.getBoundingClientRect();
		const left = now.x + 14 + width > innerWidth ? now.x - width - 12 : now.x + 14;
		const top = now.y + 16 + height > innerHeight ? now.y - height - 12 : now.y + 16;
		element.style.transform = `translate(${Math.max(4, left)}px, ${Math.max(4, top)}px)`;
	});
	if (!now) return null;
	return (
		<div class="tip" ref={box} aria-hidden="true">
			{now.lines.map((line, i) => (i === 0 ? <strong>{line}</strong> : <span>{line}</span>))}
		</div>
	);
}
