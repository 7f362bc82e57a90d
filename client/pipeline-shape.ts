/** What the schema says against a pipeline file, worded for the operator: one fault for one mistake. */
import type { z } from 'zod';
import { knownBases } from '../config/base-models.ts';
import { pipelineSchema } from '../config/pipeline.ts';
import { nearest } from './nearest.ts';
import type { PipelineFault } from './pipeline-fault.ts';
import { describeValue, fieldName, hasKey, oneOf, valueAt } from './pipeline-words.ts';
import { aliasMark, type Places } from './pipeline-yaml.ts';
import { isMeant, knownPlaces, schemaAt, type Schema } from './schema-tree.ts';

type Issue = z.core.$ZodIssue;

/** The faults of the value's shape, in the order of the schema. */
export function shapeFaults(issues: Issue[], value: unknown, place: Places): PipelineFault[] {
  return withoutEchoes(issues.flatMap((issue) => schemaFaults(issue, value, place)));
}

function schemaFaults(
  issue: Issue,
  root: unknown,
  place: Places,
  base: readonly PropertyKey[] = [],
): PipelineFault[] {
  const keys = [...base, ...issue.path];
  if (valueAt(root, keys) === aliasMark) return [];
  const fault = (expected: string, hint: string | null = null): PipelineFault => ({
    ...place.at(keys),
    field: fieldName(keys),
    found: describeValue(valueAt(root, keys)),
    expected,
    hint,
  });
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => unknownKey(key, keys, root, place));
    case 'invalid_union':
      return unionFaults(issue, root, place, keys);
    case 'invalid_value': {
      const values = issue.values.map(String);
      const value = valueAt(root, keys);
      const near = typeof value === 'string' ? nearest(value, values) : null;
      return [fault(oneOf(values), near === null ? null : `Did you mean ${near}?`)];
    }
    case 'invalid_type':
      return [fault(typeName(issue.expected))];
    case 'too_small':
    case 'too_big':
      return [fault(sizeName(issue, String(valueAt(root, keys)).endsWith('%')), sizeHint(keys))];
    default: {
      const value = valueAt(root, keys);
      const hint = fieldName(keys) === 'startFrom' ? startHint(value) : null;
      return [fault(issue.message.replace(/^expected /, ''), hint)];
    }
  }
}

/** A rate itself, where a multiple of the planned one is asked for. */
function sizeHint(keys: readonly PropertyKey[]): string | null {
  return fieldName(keys).startsWith('sweep.learningRate[')
    ? 'It is a multiple of the planned rate: 1 is the planned one, 2 twice that.'
    : null;
}

/** A base model's name that is mistyped, or a file's that lacks the mark of a path. */
function startHint(value: unknown): string | null {
  if (typeof value !== 'string') return null;
  if (/^[^@]+\.gguf$/.test(value) || /^[^@/]+\//.test(value)) return `Did you mean ./${value}?`;
  const near = nearest(value, ['scratch', ...Object.keys(knownBases)]);
  return near === null ? null : `Did you mean ${near}?`;
}

/** One fault for a value that fits none of several shapes: the shape it comes nearest to explains it. */
function unionFaults(
  issue: Extract<Issue, { code: 'invalid_union' }>,
  root: unknown,
  place: Places,
  keys: readonly PropertyKey[],
): PipelineFault[] {
  const value = valueAt(root, keys);
  const where = { ...place.at(keys), field: fieldName(keys), found: describeValue(value) };
  // What the schema itself says of all its shapes is clearer than a list of them.
  const said = issue.message.startsWith('expected ') ? expectation(issue) : null;
  const isAtom = typeof value !== 'object' || value === null;
  const ofShapes = issue.errors.filter((errors) => !errors.some(isOfAnotherType));
  const [chosen, ...rest] = isAtom ? [] : ofShapes;
  // Only one kind of value is like this one, and of several shapes one key has said which is meant.
  if (chosen !== undefined && rest.length === 0) {
    const isChosen =
      chosen.some((inner) => inner.path.length > 0) || shapesFor(keys, value).length === 1;
    if (isChosen && !chosen.some(isUnknownChoice))
      return chosen.flatMap((inner) => schemaFaults(inner, root, place, keys));
  }
  if (isAtom || Array.isArray(value)) {
    if (said !== null) return [{ ...where, expected: said, hint: null }];
    const own = issue.errors.flatMap((errors) => errors.map((inner) => expectation(inner)));
    const worded = own.filter((text) => text.includes(' such as '));
    const expected = oneOf([...new Set(worded.length > 0 ? worded : own)]);
    return [{ ...where, expected, hint: null }];
  }
  const shapes = optionsOf(schemaAt(pipelineSchema, keys));
  const onlyIn = shapes.map((shape, index) =>
    shape.filter((key) => shapes.every((other, i) => i === index || !other.includes(key))),
  );
  const fits = onlyIn.flatMap((own, index) => (own.some((key) => key in value) ? [index] : []));
  if (fits.length > 1) {
    const names = fits.map((index) => onlyIn[index]!.find((key) => key in value)!);
    const found = `both ${names.join(' and ')}`;
    return [{ ...where, found, expected: `only one of ${names.join(' and ')}`, hint: null }];
  }
  const index = fits[0] ?? 0;
  const faults = (ofShapes[index] ?? issue.errors[index] ?? []).flatMap((inner) =>
    schemaFaults(inner, root, place, keys),
  );
  if (fits.length === 1) return faults;
  const mistyped = faults.some((fault) =>
    onlyIn.flat().some((key) => fault.hint?.startsWith(`Did you mean ${key}?`)),
  );
  if (mistyped) return faults;
  if (said !== null) return [{ ...where, expected: said, hint: null }];
  const missing = new Set(onlyIn.flat().map((key) => fieldName([...keys, key])));
  const others = faults.filter((fault) => !missing.has(fault.field));
  const expected = oneOf(onlyIn.flat());
  return [{ ...where, found: 'none of them', expected, hint: null }, ...others];
}

/** A key that tells shapes apart has a value of none of them. */
function isUnknownChoice(issue: Issue): boolean {
  return issue.code === 'invalid_union' && issue.errors.length === 0;
}

/** The shapes that may stand there; where a key tells them apart, such as step, those of its value. */
function shapesFor(keys: readonly PropertyKey[], value: unknown): Schema[] {
  const shapes = schemaAt(pipelineSchema, keys);
  if (typeof value !== 'object' || value === null) return shapes;
  const meant = shapes.filter((shape) => isMeant(shape, value));
  return meant.length > 0 ? meant : shapes;
}

/** Keys with values were held against a word or a list: that shape cannot explain them. */
function isOfAnotherType(issue: Issue): boolean {
  return issue.path.length === 0 && ['invalid_value', 'invalid_type'].includes(issue.code);
}

/** A mistyped key is one mistake: that the right one is missing goes without saying. */
function withoutEchoes(faults: PipelineFault[]): PipelineFault[] {
  const meant = new Set(
    faults.flatMap(({ field, hint }) => {
      const key = /^Did you mean (\S+)\?/.exec(hint ?? '')?.[1];
      return key === undefined ? [] : [field.replace(/[^.]*$/, key)];
    }),
  );
  return faults.filter(({ field, found }) => found !== 'nothing' || !meant.has(field));
}

function unknownKey(
  key: string,
  parent: readonly PropertyKey[],
  root: unknown,
  place: Places,
): PipelineFault {
  const known = optionsOf(shapesFor(parent, valueAt(root, parent))).flat();
  const allowed = [...new Set(known)];
  if (allowed.includes(key)) {
    const beside = Object.keys(valueAt(root, parent) as object).filter(
      (name) => name !== key && allowed.includes(name),
    );
    return {
      ...place.at([...parent, key]),
      field: fieldName([...parent, key]),
      found: `it beside ${beside.join(' and ')}`,
      expected: 'one of the two',
      hint: null,
    };
  }
  const free = allowed.filter((name) => !hasKey(valueAt(root, parent), name));
  // In braces a colon of a Chinese or Japanese keyboard makes one key of the key and its value.
  const [word = '', ...behind] = key.split('：');
  // A number is not a mistyped other one.
  const near = /^\d+$/.test(word) ? null : (nearest(word, free) ?? nearest(word, allowed));
  const here = parent.filter((part) => typeof part !== 'number').join('.');
  const elsewhere = knownPlaces(pipelineSchema, key)
    .map((keys) => keys.join('.'))
    .filter((place) => place !== here);
  const isTop = parent.length > 0 && optionsOf(schemaAt(pipelineSchema, [])).flat().includes(key);
  const wide =
    behind.length > 0 ? ' The colon ： is a full-width one: write a plain one and a space.' : '';
  const hint =
    near !== null
      ? `Did you mean ${near}?${wide}`
      : elsewhere.length > 0
        ? `It belongs in ${oneOf(elsewhere)}.`
        : isTop
          ? `It belongs at the top of the file, beside ${String(parent[0])}.`
          : null;
  return {
    ...place.at([...parent, key]),
    field: fieldName([...parent, word]),
    found: 'an unknown key',
    expected: oneOf(allowed),
    hint,
  };
}

function optionsOf(schemas: Schema[]): string[][] {
  return schemas.map((schema) => schema.keys);
}

function expectation(issue: Issue): string {
  if (issue.code === 'invalid_type') return typeName(issue.expected);
  if (issue.code === 'too_small' || issue.code === 'too_big') return sizeName(issue);
  if (issue.code === 'invalid_value') return oneOf(issue.values.map(String));
  return issue.message.replace(/^expected /, '');
}

function typeName(expected: string): string {
  const names: Record<string, string> = {
    string: 'text',
    object: 'keys with values',
    array: 'a list',
    boolean: 'true or false',
    number: 'a number',
    int: 'a whole number',
    record: 'keys with values',
  };
  return names[expected] ?? expected;
}

function sizeName(
  issue: Extract<Issue, { code: 'too_small' | 'too_big' }>,
  asShare = false,
): string {
  const small = issue.code === 'too_small';
  const limit = small ? issue.minimum : issue.maximum;
  const bound = asShare ? `${Number(limit) * 100}%` : String(limit);
  if (issue.origin === 'array') return `${small ? 'at least' : 'at most'} ${bound} in the list`;
  if (issue.origin === 'string')
    return small ? 'text that is not empty' : `at most ${bound} letters`;
  if (small) return issue.inclusive ? `at least ${bound}` : `more than ${bound}`;
  return issue.inclusive ? `at most ${bound}` : `less than ${bound}`;
}
