/** What a bundle can do, so that a client can fit itself to it: read once from the folder that is served. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { Template } from '@huggingface/jinja';
import { bundleConfigSchema, servesEmbeddings } from '../config/manifests.ts';
import type { ServedBundle } from './endpoint.ts';

/** Fields of a model object, named as in OpenAI's. */
export type Abilities = TextAbilities | EmbeddingAbilities;

interface TextAbilities {
  /** False for a base model, which continues text. */
  chat: boolean;
  context_length: number;
  /** Of a request that names none. */
  default_max_tokens: number;
  /** The chat template sets a system message apart from what a user says. */
  system_prompt: boolean;
}

interface EmbeddingAbilities {
  chat: false;
  /** It turns texts into vectors of so many numbers, and continues none. */
  embeddings: { dimensions: number };
  context_length: number;
}

const known = new WeakMap<ServedBundle, Abilities>();

/** None when the folder cannot be read now: a list of models must not fail for it. */
export async function readAbilities(served: ServedBundle): Promise<Abilities | null> {
  const found = known.get(served);
  if (found !== undefined) return found;
  const file = (name: string): Promise<string> => readFile(path.join(served.folder, name), 'utf8');
  try {
    const config = bundleConfigSchema.parse(JSON.parse(await file('serving.json')));
    const abilities: Abilities = servesEmbeddings(config)
      ? {
          chat: false,
          embeddings: { dimensions: config.dimensions },
          context_length: config.contextLength,
        }
      : {
          chat: config.chat,
          context_length: config.contextLength,
          default_max_tokens: config.maxNewTokens,
          system_prompt: config.chat && knowsSystem(await file('chat_template.jinja')),
        };
    known.set(served, abilities);
    return abilities;
  } catch {
    return null;
  }
}

/** True when a system message comes out whole, and otherwise than a user's. */
function knowsSystem(source: string): boolean {
  const template = new Template(source);
  const render = (role: string): string | null => {
    try {
      return template.render({
        messages: [
          { role, content: 'first-words' },
          { role: 'user', content: 'second-words' },
        ],
        add_generation_prompt: true,
        bos_token: '',
        eos_token: '',
      });
    } catch {
      return null;
    }
  };
  const system = render('system');
  return system !== null && system.includes('first-words') && system !== render('user');
}
