/** What a configuration of transformers is found to be before anything is spent on it. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createGivenModelActivities } from '../../activities/given-model.ts';
import { failureOf, inActivity, startFixture, type Fixture } from './corpus-fixtures.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await startFixture();
});
afterAll(async () => {
  await fixture.stop();
});

const inputOf = (config: string) => ({ config, baseDir: fixture.folder });
const refusal = async (config: string) => {
  const { measureModel } = createGivenModelActivities(fixture.deps);
  return await failureOf(measureModel, inputOf(config));
};

test('a configuration is counted, and kept as it was given', { timeout: 300_000 }, async () => {
  const config = {
    model_type: 'mistral',
    hidden_size: 64,
    intermediate_size: 128,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 128,
    sliding_window: null,
  };
  await fixture.put('config.json', JSON.stringify(config));
  const { measureModel } = createGivenModelActivities(fixture.deps);
  const { result } = await inActivity(measureModel, inputOf('./config.json'));
  expect(result).toEqual({
    config,
    architecture: 'MistralForCausalLM',
    hiddenSize: 64,
    numLayers: 2,
    contextLength: 128,
    tieEmbeddings: false,
    parameters: { fixed: 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128 + 128) + 64, perToken: 128 },
  });
});

test(
  'an architecture that could not be served is refused before anything is trained',
  { timeout: 300_000 },
  async () => {
    await fixture.put(
      'gpt2.json',
      JSON.stringify({ model_type: 'gpt2', n_embd: 64, n_layer: 2, n_head: 4 }),
    );
    const failure = await refusal('./gpt2.json');
    expect(failure).toMatchObject({ type: 'InvalidConfig', nonRetryable: true });
    expect(failure.message).toBe(
      'model.config ./gpt2.json: the ONNX builder does not know a GPT2LMHeadModel, so it could be neither ' +
        'evaluated nor served. Take another architecture, such as llama, qwen3, mistral or gemma.',
    );
  },
);

test('a file that is not there, or is no JSON object, is refused', async () => {
  await fixture.put('list.json', '[]');
  expect((await refusal('./none.json')).message).toContain('found no file to read there');
  expect((await refusal('./list.json')).message).toContain('expected the JSON object');
});
