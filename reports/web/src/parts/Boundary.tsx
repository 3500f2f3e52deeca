// SPDX-License-Identifier: MIT
/* A section that fails says so in its own place; the rest of the page stays. */
import { Component, type ComponentChildren } from 'preact';
import { t } from '../i18n';

export class Boundary extends Component<{ children?: ComponentChildren }, { error: string | null }> {
	override state = { error: null };

	static override getDerivedStateFromError(error: unknown) {
		return { error: error instanceof Error ? error.message : String(error) };
	}

	override render() {
		if (this.state.error === null) return this.props.children;
		return (
			<p class="panel damaged" role="alert">
				{t('damaged', this.state.error)}
			</p>
		);
	}
}
