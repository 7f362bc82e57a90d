import { expect, test } from 'vitest';
import { chatsOf } from '../../corpus/chats.ts';
import { packGrams, readGrams } from '../../corpus/contamination.ts';
import { makeConversations } from '../../corpus/conversations.ts';

const user = (content: string) => ({ role: 'user', content });
const assistant = (content: string) => ({ role: 'assistant', content });
const system = (content: string) => ({ role: 'system', content });

test.each([
  [
    'Alpaca',
    { instruction: 'Add', input: '1 2', output: '3' },
    [user('Add\n\n1 2'), assistant('3')],
  ],
  [
    'Alpaca with history',
    { instruction: 'And?', history: [['a', 'b']], output: 'c', system: 's' },
    [system('s'), user('a'), assistant('b'), user('And?'), assistant('c')],
  ],
  [
    'ShareGPT',
    {
      conversations: [
        { from: 'human', value: 'a' },
        { from: 'gpt', value: 'b' },
      ],
      system: 's',
    },
    [system('s'), user('a'), assistant('b')],
  ],
  [
    'OpenAI messages in parts',
    {
      messages: [
        { role: 'user', content: [{ type: 'text', value: 'hi' }] },
        { role: 'assistant', content: [{ type: 'text', text: 'yo' }] },
      ],
    },
    [user('hi'), assistant('yo')],
  ],
  [
    'prompt and completion in turns',
    { system: 's', prompt: [user('a')], completion: [assistant('b')] },
    [system('s'), user('a'), assistant('b')],
  ],
  [
    'Dolly',
    { instruction: 'Who?', context: 'It was Ann.', response: 'Ann' },
    [user('Who?\n\nIt was Ann.'), assistant('Ann')],
  ],
  [
    'Orca',
    { system_prompt: 's', question: 'a', response: 'b' },
    [system('s'), user('a'), assistant('b')],
  ],
  [
    'function calls of the older OpenAI, and a system turn that says nothing',
    {
      messages: [
        system(''),
        user('weather?'),
        { role: 'assistant', content: null, function_call: { name: 'w', arguments: '{}' } },
        { role: 'function', name: 'w', content: '20' },
        assistant('20'),
      ],
      functions: [{ name: 'w' }],
    },
    [
      system('<tools>\n[{"name":"w"}]\n</tools>'),
      user('weather?'),
      assistant('<tool_call>\n{"name":"w","arguments":{}}\n</tool_call>'),
      user('<tool_response>\n20\n</tool_response>'),
      assistant('20'),
    ],
  ],
  [
    'an answer in a list, beside a label that judges nothing',
    { question: 'a', answer: ['b'], label: 0 },
    [user('a'), assistant('b')],
  ],
  [
    'messages beside an answer that is none of theirs',
    { messages: [user('a'), assistant('b')], answer: ['gold'] },
    [user('a'), assistant('b')],
  ],
  [
    'the same system message twice',
    { system: 's', messages: [system('s'), user('a'), assistant('b')] },
    [system('s'), user('a'), assistant('b')],
  ],
  [
    'several contexts',
    { instruction: 'a', context: ['c', 'd'], output: 'b', label: 'positive' },
    [user('a\n\nc\n\nd'), assistant('b')],
  ],
  ['prompt and completion', { prompt: 'a', completion: 'b' }, [user('a'), assistant('b')]],
  ['question and answer', { question: 'a', answer: 'b' }, [user('a'), assistant('b')]],
  [
    'tool calls of ShareGPT',
    {
      conversations: [
        { from: 'human', value: 'weather?' },
        { from: 'function_call', value: '{"name":"w"}' },
        { from: 'observation', value: '{"t":20}' },
        { from: 'gpt', value: '20' },
      ],
      tools: '[{"name":"w"}]',
    },
    [
      system('<tools>\n[{"name":"w"}]\n</tools>'),
      user('weather?'),
      assistant('<tool_call>\n{"name":"w"}\n</tool_call>'),
      user('<tool_response>\n{"t":20}\n</tool_response>'),
      assistant('20'),
    ],
  ],
  [
    'tool calls of OpenAI',
    {
      messages: [
        user('weather?'),
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ function: { name: 'w', arguments: '{"in":"x"}' } }],
        },
        { role: 'tool', content: '20' },
        assistant('20'),
      ],
    },
    [
      user('weather?'),
      assistant('<tool_call>\n{"name":"w","arguments":{"in":"x"}}\n</tool_call>'),
      user('<tool_response>\n20\n</tool_response>'),
      assistant('20'),
    ],
  ],
])('%s', (_, record, messages) => {
  expect(chatsOf(record)).toEqual([{ kind: 'chat', messages }]);
});

test.each([
  ['Alpaca', { instruction: 'a', input: '', output: 'b', chosen: 'b', rejected: 'c' }],
  [
    'ShareGPT',
    {
      conversations: [{ from: 'human', value: 'a' }],
      chosen: { from: 'gpt', value: 'b' },
      rejected: { from: 'gpt', value: 'c' },
    },
  ],
  ['HH', { chosen: '\n\nHuman: a\n\nAssistant: b', rejected: '\n\nHuman: a\n\nAssistant: c' }],
  ['TRL', { chosen: [user('a'), assistant('b')], rejected: [user('a'), assistant('c')] }],
  [
    'UltraFeedback',
    { prompt: 'a', chosen: [user('a'), assistant('b')], rejected: [user('a'), assistant('c')] },
  ],
  [
    'UltraFeedback, binarized',
    {
      prompt: 'a',
      chosen: [user('a'), assistant('b')],
      rejected: [user('a'), assistant('c')],
      messages: [user('a'), assistant('b')],
    },
  ],
  [
    'TRL with an explicit prompt',
    { prompt: [user('a')], chosen: [assistant('b')], rejected: [assistant('c')] },
  ],
  [
    'OpenAI',
    {
      input: { messages: [user('a')] },
      preferred_output: [assistant('b')],
      non_preferred_output: [assistant('c')],
    },
  ],
])('a preference as %s writes it', (_, record) => {
  expect(chatsOf(record)).toEqual([
    {
      kind: 'preference',
      prompt: [user('a')],
      chosen: [assistant('b')],
      rejected: [assistant('c')],
    },
  ]);
});

test.each([
  ['TRL', { prompt: [user('a')], completion: [assistant('b')], label: false }],
  ['TRL, in texts', { prompt: 'a', completion: 'b', label: false }],
  ['numbers', { prompt: 'a', completion: 'b', label: 0 }],
  ['LLaMA-Factory', { messages: [user('a'), assistant('b')], label: false }],
])('a bad answer as KTO in the form of %s calls it', (_, record) => {
  expect(chatsOf(record)).toEqual([
    { kind: 'judged', prompt: [user('a')], answer: [assistant('b')], good: false },
  ]);
});

test.each([
  ['unknown_shape', { text: 'a' }],
  ['unknown_shape', 'a'],
  ['unknown_role', { messages: [{ role: 'robot', content: 'a' }] }],
  ['no_answer', { messages: [user('a')] }],
  ['empty_turn', { instruction: 'a', output: ' ' }],
  ['turns_out_of_order', { messages: [user('a'), user('b'), assistant('c')] }],
  ['unlearnt_turn', { messages: [user('a'), { ...assistant('b'), weight: 0 }] }],
  ['same_answers', { instruction: 'a', chosen: 'b', rejected: 'b ' }],
])('%s is the reason for what cannot be learnt from', (reason, record) => {
  expect(chatsOf(record)).toMatchObject([{ reason }]);
});

const make = (records: unknown[], maxTokens = 100) =>
  makeConversations([{ records, maxTokens }], { personalData: 'redact', heldOut: 0, seed: 1 });

test('each conversation once, none too long, personal data replaced, code left as it is laid out', () => {
  const code = 'def f():\n    return 1\n\n\n\nprint(f())';
  const made = make([
    { instruction: 'Mail?', output: 'ann@b.io' },
    { instruction: 'Mail?', output: 'bob@c.io' },
    { instruction: 'Code?', output: code },
    { instruction: 'Long?', output: 'word '.repeat(200) },
    { instruction: 'Sneaky?', output: '<|end|>' },
  ]);
  const answers = made.train.map(({ messages }) => messages[1]?.content).toSorted();
  expect(answers).toEqual(['<EMAIL>', '<| end |>', code].toSorted());
  expect(made.dropped).toEqual({ duplicate: 1, too_long: 1 });
  expect(made.redacted).toEqual({ email: 2 });
});

test('a good answer of KTO is learnt, and with a bad one to the same question it is a preference', () => {
  const judged = (answer: string, label: boolean, question = 'q') => ({
    messages: [user(question), assistant(answer)],
    label,
  });
  const made = make([judged('yes', true), judged('no', false), judged('never', false, 'r')]);
  expect(made.train).toEqual([{ messages: [user('q'), assistant('yes')] }]);
  expect(made.preferences).toEqual([
    { prompt: [user('q')], chosen: [assistant('yes')], rejected: [assistant('no')] },
  ]);
  expect(made.dropped).toEqual({ unpaired: 1 });
});

test('the order of the records changes nothing, and a held-out question is not trained on', () => {
  const records = Array.from({ length: 60 }, (_, index) => ({
    instruction: `q${index}`,
    chosen: 'b',
    rejected: 'c',
  }));
  const options = { personalData: 'redact', heldOut: 0.3, seed: 1 } as const;
  const made = makeConversations([{ records, maxTokens: 100 }], options);
  expect(makeConversations([{ records: records.toReversed(), maxTokens: 100 }], options)).toEqual(
    made,
  );
  expect(made.preferencesHeldOut.length).toBeGreaterThan(5);
  const trained = new Set(made.train.map(({ messages }) => messages[0]?.content));
  expect(made.preferencesHeldOut.some(({ question }) => trained.has(question))).toBe(false);
  expect(made.train.length + made.preferencesHeldOut.length).toBe(60);
});

test('nothing that begins with a held-out question is trained on', () => {
  const questions = Array.from({ length: 20 }, (_, index) => `q${index}`);
  const judged = (question: string, answer: string, label: boolean) => ({
    messages: [user(question), assistant(answer)],
    label,
  });
  const records = questions.flatMap((question) => [
    judged(question, 'good', true),
    judged(question, 'bad', false),
    { instruction: question, output: 'another answer' },
    { instruction: question, system: 's', chosen: 'with a system', rejected: 'c' },
  ]);
  const options = { personalData: 'redact', heldOut: 0.3, seed: 1 } as const;
  const made = makeConversations([{ records, maxTokens: 100 }], options);
  const measured = new Set(made.preferencesHeldOut.map(({ question }) => question));
  expect(measured.size).toBeGreaterThan(2);
  const asked = [
    ...made.train.map(({ messages }) => messages),
    ...made.preferences.map(({ prompt }) => prompt),
  ].map((turns) => turns.find(({ role }) => role === 'user')!.content);
  expect(asked.filter((question) => measured.has(question))).toEqual([]);
  expect(new Set(asked).size).toBe(20 - measured.size);
  expect(made.dropped).toEqual({ held_out: 3 * measured.size });
});

test('a conversation of which any turn says what an evaluation set asks is left out', () => {
  const asked = 'Natalia sold clips to 48 of her friends in April and then half as many in May';
  const contamination = readGrams(
    packGrams([{ set: 'math.jsonl', record: 1, text: asked }]).packed,
  );
  const records = [
    { instruction: 'Free?', output: 'yes' },
    { instruction: `Please: ${asked}?`, output: '72' },
    { instruction: 'Pick one', chosen: 'a', rejected: asked },
    { messages: [user('Invent one'), assistant(asked)], label: true },
  ];
  const made = makeConversations([{ records, maxTokens: 200 }], {
    personalData: 'redact',
    heldOut: 0,
    seed: 1,
    contamination,
  });
  expect(made.train).toEqual([{ messages: [user('Free?'), assistant('yes')] }]);
  expect(made.preferences).toEqual([]);
  expect(made.dropped).toEqual({ contaminated: 3 });
});
