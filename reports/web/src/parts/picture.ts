// SPDX-License-Identifier: MIT
/*
 * A section as a picture: its question, its answer, and its charts where they stand
 *
 * Charts are canvases and SVG. An SVG takes its colours from the page's style sheet, which an image does
 * not have: they are written into a copy.
 */
import { background, muted, text } from '../colour';
import { t } from '../i18n';
import { theme } from '../store';
import { announce } from './announce';

const PAD = 20;
const STYLED = ['fill', 'stroke', 'stroke-width', 'stroke-dasharray', 'font', 'opacity', 'text-anchor'] as const;

function standalone(svg: SVGSVGElement): string {
	const copy = svg.cloneNode(true) as SVGSVGElement;
	const from = [svg, ...svg.querySelectorAll('*')];
	const to = [copy, ...copy.querySelectorAll('*')];
	from.forEach((element, i) => {
		if (!(element instanceof SVGElement)) return;
		const style = getComputedStyle(element);
		for (const name of STYLED) to[i]!.setAttribute(name, style.getPropertyValue(name));
	});
	/* HTML inside of it would make the picture unreadable for us */
	for (const label of copy.querySelectorAll('foreignObject')) {
		const words = document.createElementNS('http://www.w3.org/2000/svg', 'text');
		words.textContent = label.textContent;
		words.setAttribute('x', '4');
		words.setAttribute('y', '14');
		words.setAttribute('font-size', '11');
		const room = Number(label.getAttribute('width') ?? 0);
		if (room > 8 * (words.textContent?.length ?? 0)) label.replaceWith(words);
		else label.remove();
	}
	copy.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
	return `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(copy))}`;
}

function load(url: string): Promise<HTMLImageElement> {
	return new Promise((resolve, reject) => {
		const image = new Image();
		image.onload = () => resolve(image);
		image.onerror = () => reject(new Error('the chart can not be drawn'));
		image.src = url;
	});
}

/* Text in lines of at most `width`; returns where the next one would stand. */
function write(c: CanvasRenderingContext2D, words: string, y: number, width: number, line: number): number {
	let row = '';
	for (const part of words.split(/(?<=\s)|(?=[\u3000-\u9fff])/)) {
		if (row !== '' && c.measureText(row + part).width > width) {
			c.fillText(row, PAD, y);
			row = '';
			y += line;
		}
		row += part;
	}
	c.fillText(row, PAD, y);
	return y + line;
}

export async function drawSection(section: HTMLElement): Promise<HTMLCanvasElement> {
	const now = theme.peek();
	const frame = section.getBoundingClientRect();
	const shown = [...section.querySelectorAll<HTMLCanvasElement | SVGSVGElement>('canvas, svg')].filter((e) => {
		const box = e.getBoundingClientRect();
		return box.width > 40 && box.height > 10 && e.closest('button, table, .legend') === null;
	});
	const boxes = shown.map((element) => element.getBoundingClientRect());
	const top = Math.min(...boxes.map((box) => box.top), frame.bottom);
	const bottom = Math.max(...boxes.map((box) => box.bottom), top);
	const ratio = Math.min(3, Math.max(2, window.devicePixelRatio || 1));
	const picture = document.createElement('canvas');
	const c = picture.getContext('2d')!;
	const title = section.querySelector('h2')?.textContent ?? '';
	const answer = section.querySelector('.answer')?.textContent ?? '';
	const head = 64 + 20 * Math.ceil((answer.length * 7) / Math.max(1, frame.width - 2 * PAD));

	picture.width = Math.round(frame.width * ratio);
	picture.height = Math.round((head + (bottom - top) + PAD) * ratio);
	c.scale(ratio, ratio);
	c.fillStyle = background[now];
	c.fillRect(0, 0, frame.width, picture.height);
	c.fillStyle = text[now];
	c.font = '600 17px system-ui, sans-serif';
	const below = write(c, title, 32, frame.width - 2 * PAD, 24);
	c.fillStyle = muted[now];
	c.font = '13px system-ui, sans-serif';
	write(c, answer, below, frame.width - 2 * PAD, 19);
	for (const [i, element] of shown.entries()) {
		const box = boxes[i]!;
		const source = element instanceof SVGSVGElement ? await load(standalone(element)) : element;
		c.drawImage(source, box.left - frame.left, head + box.top - top, box.width, box.height);
	}
	return picture;
}

/* To the clipboard, or into a file where the browser has no clipboard for pictures. */
export async function copyPicture(section: HTMLElement): Promise<void> {
	try {
		const picture = await drawSection(section);
		const blob = await new Promise<Blob | null>((resolve) => picture.toBlob(resolve, 'image/png'));
		if (!blob) throw new Error('no picture');
		try {
			await navigator.clipboard.write([new ClipboardItem({ 'image/png': blob })]);
			announce(t('copied.png'), true);
		} catch {
			const link = document.createElement('a');
			link.href = URL.createObjectURL(blob);
			link.download = `${section.id}.png`;
			link.click();
			setTimeout(() => URL.revokeObjectURL(link.href), 1000);
			announce(t('saved.png', link.download), true);
		}
	} catch {
		announce(t('copy.failed'), true);
	}
}
