// SPDX-License-Identifier: MIT
/*
 * In the place of d3-transition: what the flame graph would animate is there at once
 *
 * A picture that grows in is not there for printers, for slow machines, and for readers who asked for
 * less motion; and the library is a tenth of the page.
 */
import { selection } from 'd3-selection';

function itself(this: unknown) {
	return this;
}

Object.assign(selection.prototype, { transition: itself, delay: itself, duration: itself, ease: itself });
