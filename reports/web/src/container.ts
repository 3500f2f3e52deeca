// SPDX-License-Identifier: MIT
/*
 * Reading the data blocks of the page: base64 -> gzip -> chunk -> typed array
 *
 * Chunks are decoded when a section first asks for them, and their elements are then removed, which
 * frees the text. A chunk that the parser has not reached yet is waited for. The format is in
 * reports/FORMAT.md; the writer is reports/rp_chunk.c.
 */

export type Values = Float64Array | Uint32Array | Uint8Array;

export interface ColumnInfo {
	name: string;
	type: 'u8' | 'u32' | 'u64' | 'i64' | 'f64';
	codec: string;
	n: number;
	chunk: number;
	chunks: number;
}

export interface ChunkHeader {
	type: number;
	codec: number;
	column: number;
	part: number;
	first: number;
	count: number;
}

const MAGIC = 0x43475246;
const VERSION = 1;
const HEADER_BYTES = 32;

export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
	const native = (Uint8Array as unknown as { fromBase64?: (t: string) => Uint8Array<ArrayBuffer> })
		.fromBase64;
	if (native) return native.call(Uint8Array, text);
	const binary = atob(text.trim());
	const bytes = new Uint8Array(binary.length);
	for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
	return bytes;
}

export async function gunzip(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
	const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
	return new Uint8Array(await new Response(stream).arrayBuffer());
}

/*
 * Doubles hold 53 bits: seven bytes of a number (49 bits) are read as doubles, longer ones exactly.
 * The values themselves stay below 2^53 (FORMAT.md).
 */
function decodeDelta(bytes: Uint8Array, at: number, out: Float64Array | Uint32Array): void {
	let previous = 0;
	for (let i = 0; i < out.length; i++) {
		let scale = 1;
		let code = 0;
		let end = at;
		while (end < bytes.length && bytes[end]! >= 0x80) end++;
		if (end >= bytes.length) throw new Error('the chunk ends early');
		if (end - at < 7) {
			for (; at <= end; at++, scale *= 128) code += (bytes[at]! & 0x7f) * scale;
			previous += code % 2 === 0 ? code / 2 : -(code + 1) / 2;
		} else {
			let wide = 0n;
			for (let shift = 0n; at <= end; at++, shift += 7n) wide |= BigInt(bytes[at]! & 0x7f) << shift;
			const difference = wide & 1n ? -((wide + 1n) >> 1n) : wide >> 1n;
			previous = Number(BigInt.asIntN(64, BigInt(previous) + difference));
		}
		out[i] = previous;
	}
}

function decodePlanes(bytes: Uint8Array, at: number, count: number): Float64Array {
	if (bytes.length - at < count * 8) throw new Error('the chunk ends early');
	const joined = new Uint8Array(count * 8);
	for (let plane = 0; plane < 8; plane++)
		for (let i = 0; i < count; i++) joined[i * 8 + plane] = bytes[at + plane * count + i]!;
	return new Float64Array(joined.buffer);
}

export function decodeChunk(bytes: Uint8Array): { header: ChunkHeader; values: Values } {
	if (bytes.length < HEADER_BYTES) throw new Error('the chunk has no header');
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	if (view.getUint32(0, true) !== MAGIC) throw new Error('not a chunk');
	if (view.getUint8(4) > VERSION) throw new Error('the chunk is of a newer format');
	const header: ChunkHeader = {
		type: view.getUint8(5),
		codec: view.getUint8(6),
		column: view.getUint32(8, true),
		part: view.getUint32(12, true),
		first: Number(view.getBigUint64(16, true)),
		count: Number(view.getBigUint64(24, true)),
	};
	let values: Values;
	if (header.codec === 1) {
		values = header.type === 2 ? new Uint32Array(header.count) : new Float64Array(header.count);
		decodeDelta(bytes, HEADER_BYTES, values);
	} else if (header.codec === 2 && header.type === 5) {
		values = decodePlanes(bytes, HEADER_BYTES, header.count);
	} else if (header.codec === 0 && header.type === 1) {
		values = bytes.slice(HEADER_BYTES);
		if (values.length !== header.count) throw new Error('the chunk ends early');
	} else {
		throw new Error(`unknown codec ${header.codec}`);
	}
	return { header, values };
}

function join(type: ColumnInfo['type'], n: number, parts: { first: number; values: Values }[]): Values {
	if (parts.length === 1 && parts[0]!.values.length === n) return parts[0]!.values;
	const all =
		type === 'u8' ? new Uint8Array(n) : type === 'u32' ? new Uint32Array(n) : new Float64Array(n);
	for (const part of parts) all.set(part.values, part.first);
	return all;
}

/* An element stands in the tree from its start tag on; it is whole when the parser went past it. */
const isWhole = (element: Element) =>
	element.nextElementSibling !== null || document.readyState !== 'loading';

const parsed = () =>
	new Promise<void>((resolve) =>
		document.addEventListener('DOMContentLoaded', () => resolve(), { once: true }),
	);

async function takeBlock(id: string): Promise<Uint8Array<ArrayBuffer>> {
	let element = document.getElementById(id);
	if ((!element || !isWhole(element)) && document.readyState === 'loading') {
		await parsed();
		element = document.getElementById(id);
	}
	if (!element) throw new Error('this part is missing from the file');
	const text = element.textContent ?? '';
	element.remove();
	return gunzip(fromBase64(text));
}

export async function readBoot(): Promise<unknown> {
	return JSON.parse(new TextDecoder().decode(await takeBlock('boot')));
}

/* Columns that are being read: for tests, which wait for none. */
let reading = 0;
export const pending = () => reading;

export class Columns {
	private readonly infos: Map<string, { info: ColumnInfo; index: number }>;
	private readonly loaded = new Map<string, Promise<Values>>();
	readonly total: number;

	constructor(infos: ColumnInfo[]) {
		this.infos = new Map(infos.map((info, index) => [info.name, { info, index }]));
		this.total = infos.reduce((sum, info) => sum + info.chunks, 0);
	}

	has(name: string): boolean {
		return (this.infos.get(name)?.info.n ?? 0) > 0;
	}

	length(name: string): number {
		return this.infos.get(name)?.info.n ?? 0;
	}

	/* The values of a column; an absent one is empty. Rejects when the data is damaged. */
	load(name: string): Promise<Values> {
		let promise = this.loaded.get(name);
		if (!promise) {
			reading++;
			promise = this.decode(name).finally(() => reading--);
			this.loaded.set(name, promise);
		}
		return promise;
	}

	private async decode(name: string): Promise<Values> {
		const entry = this.infos.get(name);
		if (!entry || entry.info.n === 0) return new Float64Array(0);
		const { info, index } = entry;
		const parts = [];
		for (let i = 0; i < info.chunks; i++) {
			const { header, values } = decodeChunk(await takeBlock(`c${info.chunk + i}`));
			if (header.column !== index || header.part !== i) throw new Error('the parts are mixed up');
			parts.push({ first: header.first, values });
		}
		return join(info.type, info.n, parts);
	}
}

/* How many of the file's parts arrived: fewer than promised means that the file was cut off. */
export async function countParts(total: number): Promise<{ have: number; cut: boolean }> {
	if (document.readyState === 'loading') await parsed();
	const eof = document.getElementById('eof');
	if (eof) return { have: Number(eof.dataset.n), cut: Number(eof.dataset.n) !== total };
	const have = document.querySelectorAll('script[type="application/octet-stream"]').length;
	/* the last element that the parser closed for the file is not whole */
	return { have: Math.min(total, Math.max(0, have - 1)), cut: true };
}
