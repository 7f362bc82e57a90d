/** How much an epoch reads of each source, where the pipeline file gives them weights or repeats. */
import type { Mixture } from '../../config/mixture.ts';
import { foreign, html, type Html } from './html.ts';
import { shareBar } from './charts.ts';
import { table } from './render-parts.ts';
import { count, large, percent } from './words.ts';

export function renderMixture({ sources }: Mixture): Html {
  const all = sources.reduce((sum, { epoch }) => sum + epoch.numTokens, 0);
  return html`<h3>Mixture</h3>
    <p>
      An epoch reads ${large(all)} tokens. Documents that are held out are in none of these figures.
    </p>
    ${table(
      ['source', 'asked for', 'documents', 'never read', 'times', 'tokens', 'share', ''],
      sources.map(({ source, weight, repeat, whole, used, epoch }) => {
        const share = epoch.numTokens / Math.max(1, all);
        return [
          foreign(source),
          wishText({ weight, repeat }),
          { number: count(used.numDocuments) },
          { number: count(whole.numDocuments - used.numDocuments) },
          { number: (epoch.numTokens / Math.max(1, used.numTokens)).toFixed(2) },
          { number: count(epoch.numTokens) },
          { number: percent(share) },
          { chart: shareBar(share, 'kept') },
        ];
      }),
    )}`;
}

/** E.g. `weight 3, repeat 2`. */
export function wishText({
  weight,
  repeat,
}: Pick<Mixture['sources'][number], 'weight' | 'repeat'>): string {
  const wishes = [
    ...(weight === undefined ? [] : [`weight ${weight}`]),
    ...(repeat === undefined ? [] : [`repeat ${repeat}`]),
  ];
  return wishes.join(', ') || '–';
}
