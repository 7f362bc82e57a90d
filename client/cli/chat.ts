/** `temper chat`: one question to a served model, over the same API that everybody uses. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { ClientError } from '../errors.ts';
import { openContext, requireLocal } from './context.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { plain } from './text.ts';

const answerSchema = z.object({
  model: z.string(),
  choices: z.array(z.object({ message: z.object({ content: z.string() }) })).min(1),
});

export interface Answer {
  text: string;
  ms: number;
}

export interface Api {
  /** Such as http://127.0.0.1:8080. */
  url: string;
  apiKeyFile: string;
}

/** Asks the model behind an endpoint one question. */
export async function askModel(
  api: Api,
  endpoint: string,
  question: string,
  timeoutMs = 60_000,
): Promise<Answer> {
  const key = (await readFile(api.apiKeyFile, 'utf8')).trim().split('\n')[0] ?? '';
  const began = performance.now();
  let response: Response;
  try {
    response = await fetch(`${api.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      body: JSON.stringify({
        model: endpoint,
        messages: [{ role: 'user', content: question }],
        temperature: 0,
      }),
      signal: AbortSignal.timeout(timeoutMs),
    });
  } catch (error) {
    throw new ClientError(
      'unreachable',
      `The API at ${api.url} does not answer: is the stack up? npx temper up`,
      error,
    );
  }
  const body: unknown = await response.json().catch(() => null);
  if (!response.ok) {
    const said = z.object({ error: z.object({ message: z.string() }) }).safeParse(body);
    const why = said.success ? said.data.error.message : `status ${response.status}`;
    throw new ClientError(response.status < 500 ? 'input' : 'failed', `${endpoint}: ${why}`);
  }
  const { choices } = answerSchema.parse(body);
  return { text: choices[0]!.message.content.trim(), ms: performance.now() - began };
}

export async function chatCommand(
  endpoint: string,
  words: string[],
  options: CommonOptions,
): Promise<number> {
  const context = await openContext();
  const stack = requireLocal(context, 'chat');
  const question = words.join(' ').trim() || (await readQuestion());
  const api = {
    url: `http://127.0.0.1:${stack.ports.serving}`,
    apiKeyFile: stack.layout.apiKeyFile,
  };
  const answer = await askModel(api, endpoint, question);
  if (options.json === true) printJson({ endpoint, question, answer: answer.text, ms: answer.ms });
  say(options, plain(answer.text));
  return ExitCode.ok;
}

async function readQuestion(): Promise<string> {
  let text = '';
  if (process.stdin.isTTY !== true) for await (const chunk of process.stdin) text += String(chunk);
  if (text.trim() !== '') return text.trim();
  throw new ClientError(
    'input',
    'chat: found no question, expected one: npx temper chat sotu "Who gave the address of 1865?"',
  );
}
