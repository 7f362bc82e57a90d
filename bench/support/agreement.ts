/** Whether two preparations of one corpus keep the same documents, and what the differences are. */

export interface Decision {
  /** `kept`, or why not. */
  reason: string;
  /** Of near duplicates, where it is known; else negative. */
  cluster: number;
}

export interface MadeDocument {
  key: number;
  /** What it was made as. */
  kind: string;
  /** Key of the document that it is a copy of, itself included. */
  family: number;
}

export interface Agreement {
  /** Share decided alike, another survivor of the same duplicates counted as alike. */
  alike: number;
  /** Share of documents with the same fate, each for itself. */
  same: number;
  keptByBoth: number;
  differences: { what: string; count: number }[];
}

/** Counts the differences by what each side says and what the document was made as. */
export function compareDecisions(
  documents: readonly MadeDocument[],
  ours: ReadonlyMap<number, Decision>,
  theirs: ReadonlyMap<number, Decision>,
): Agreement {
  const kept = (side: ReadonlyMap<number, Decision>, key: number): boolean =>
    side.get(key)?.reason === 'kept';
  const families = Map.groupBy(documents, ({ family }) => family);
  const counts = new Map<string, number>();
  let same = 0;
  let alike = 0;
  let keptByBoth = 0;
  for (const family of families.values()) {
    const differing = family.filter(({ key }) => kept(ours, key) !== kept(theirs, key));
    same += family.length - differing.length;
    keptByBoth += family.filter(({ key }) => kept(ours, key) && kept(theirs, key)).length;
    const numOurs = differing.filter(({ key }) => kept(ours, key)).length;
    // As many kept on each side, and none refused by a filter: the same duplicates, another survivor.
    const survivorOnly =
      numOurs * 2 === differing.length &&
      differing.every(({ key }) => isDuplicate(ours.get(key)) || isDuplicate(theirs.get(key)));
    alike += survivorOnly ? family.length : family.length - differing.length;
    for (const { key, kind } of differing) {
      const what = survivorOnly
        ? 'another survivor of the same duplicates'
        : `${kind}: temper ${ours.get(key)?.reason}, datatrove ${theirs.get(key)?.reason}`;
      counts.set(what, (counts.get(what) ?? 0) + 1);
    }
  }
  return {
    alike: alike / documents.length,
    same: same / documents.length,
    keptByBoth,
    differences: [...counts]
      .map(([what, count]) => ({ what, count }))
      .toSorted((a, b) => b.count - a.count || (a.what < b.what ? -1 : 1)),
  };
}

function isDuplicate(decision: Decision | undefined): boolean {
  return decision?.reason.startsWith('duplicate') === true;
}
