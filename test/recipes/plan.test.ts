import { describe, expect, test } from 'vitest';
import { knownBases } from '../../config/base-models.ts';
import {
  recipeSchema,
  type Machine,
  type MeasuredModel,
  type PlainShape,
} from '../../config/recipe.ts';
import { effectiveTokens, expectedBitsPerByte, expectedOfText } from '../../recipes/loss.ts';
import { planRecipe, replanRecipe, type PlanInputs } from '../../recipes/plan.ts';
import { pretrainingStepMs } from '../../recipes/pretraining.ts';
import { countParameters, ladder, trainingFlopsPerToken } from '../../recipes/shapes.ts';
import { chooseVocabSize } from '../../recipes/vocabulary.ts';

const machine: Machine = {
  device: 'cpu',
  cores: 2,
  memoryBytes: 24e9,
  instructionSet: 'avx512_bf16',
};
const inputs: PlanInputs = {
  statistics: { numTokens: 2_437_128, bytes: 10_600_000 },
  goal: 'assistant',
  budgetMs: 150_000,
  machine,
  seed: 1789,
  vocabSize: 4096,
  numChats: 5496,
  numPreferences: 5496,
};

describe('planRecipe', () => {
  test('a long training makes no more checkpoints than can be kept; a short one saves every 20 seconds', () => {
    const savesOf = (budgetMs: number) => {
      const { pretrain } = planRecipe({ ...inputs, goal: 'base', budgetMs });
      return pretrain.numSteps / pretrain.saveEverySteps;
    };
    expect(savesOf(7 * 86_400_000)).toBeLessThanOrEqual(500);
    expect(savesOf(600_000)).toBeGreaterThan(25);
  });

  test('a machine trains as fast as the threads that are used of it, however many cores it has', () => {
    const budgetMs = 3_600_000;
    const on = (cores: number) =>
      planRecipe({ ...inputs, goal: 'base', budgetMs, machine: { ...machine, cores } });
    const [eight, many, four] = [on(8), on(64), on(4)];
    expect(many.pretrain).toEqual(eight.pretrain);
    expect(many.estimate).toEqual(eight.estimate);
    expect([four.pretrain.threads, eight.pretrain.threads]).toEqual([4, 8]);
    expect(pretrainingStepMs(four.machine, eight.model, eight.pretrain)).toBeGreaterThan(
      pretrainingStepMs(eight.machine, eight.model, eight.pretrain),
    );
  });

  test('the loss is foretold of the steps that are planned, where a step was timed too', () => {
    const guessed = planRecipe({ ...inputs, goal: 'base' });
    const timed = planRecipe({ ...inputs, goal: 'base', pace: 1 });
    const { numSteps, batchSize, contextLength } = timed.pretrain!;
    expect(numSteps).toBeLessThan(guessed.pretrain!.numSteps);
    expect(timed.estimate.valBpbLow).toBeGreaterThan(guessed.estimate.valBpbLow);
    const tokens = numSteps * batchSize * contextLength;
    const bpb = expectedOfText(timed.numParameters, tokens, inputs.statistics);
    expect(timed.estimate.valBpbLow).toBeCloseTo(bpb * 0.92, 3);
  });

  test.each([
    [undefined, 'grows with the text: 10.6MB'],
    [{ train: 'unigram' as const }, 'grows with the text: 10.6MB'],
    [{ train: 'bpe' as const, vocabSize: 8192 }, 'at most 8192, as the pipeline file asks'],
    [{ from: './theirs' }, 'that of ./theirs, and the special tokens that it lacked'],
  ])('the reason for the vocabulary where the file says %j is: %s', (tokenizer, reason) => {
    const { reasons } = planRecipe({ ...inputs, tokenizer });
    expect(reasons.find(({ choice }) => choice === 'vocabulary')?.reason).toBe(reason);
  });

  test('the same inputs give the same recipe, to the byte', () => {
    expect(JSON.stringify(planRecipe(inputs))).toBe(JSON.stringify(planRecipe({ ...inputs })));
  });

  test.each([1, 20_000, 60_000, 600_000, 86_400_000])(
    'a budget of %d ms gives a recipe that its schema and the trainer accept',
    (budgetMs) => {
      for (const numTokens of [500, 200_000, 50_000_000]) {
        const statistics = { numTokens, bytes: numTokens * 4 };
        const recipe = recipeSchema.parse(planRecipe({ ...inputs, budgetMs, statistics }));
        for (const phase of [recipe.pretrain!, recipe.sft!, recipe.dpo!]) {
          expect(phase.warmupSteps + phase.decaySteps).toBeLessThanOrEqual(phase.numSteps);
          expect(phase.saveEverySteps).toBeLessThanOrEqual(phase.numSteps);
        }
        const { numHeads } = recipe.model as PlainShape;
        expect(recipe.model.hiddenSize % (16 * numHeads)).toBe(0);
      }
    },
  );

  test('more budget never plans a smaller model or a higher loss', () => {
    const recipes = [30_000, 120_000, 600_000, 3_600_000].map((budgetMs) =>
      planRecipe({ ...inputs, budgetMs }),
    );
    for (let index = 1; index < recipes.length; index += 1) {
      const [less, more] = [recipes[index - 1]!, recipes[index]!];
      expect(more.numParameters).toBeGreaterThanOrEqual(less.numParameters);
      expect(more.estimate.valBpbHigh).toBeLessThan(less.estimate.valBpbHigh);
    }
  });

  test('a little text is not planned a model that would learn it by heart', () => {
    for (const numTokens of [700, 25_000, 100_000]) {
      const statistics = { numTokens, bytes: 4 * numTokens };
      const recipe = planRecipe({ ...inputs, goal: 'base', statistics, budgetMs: 3_600_000 });
      const [smallest] = ladder(inputs.vocabSize, 256);
      const most = Math.max(20 * numTokens, countParameters(smallest!));
      expect(recipe.numParameters).toBeLessThanOrEqual(most);
    }
  });

  test('training is planned to fit the budget when there is time to train at all', () => {
    for (const budgetMs of [60_000, 150_000, 600_000]) {
      expect(planRecipe({ ...inputs, budgetMs }).estimate.trainingMs).toBeLessThan(budgetMs * 1.05);
    }
  });

  test('goal base, or a corpus without questions, plans no tuning', () => {
    expect(planRecipe({ ...inputs, goal: 'base' })).toMatchObject({ sft: null, dpo: null });
    expect(planRecipe({ ...inputs, numChats: 0 })).toMatchObject({ sft: null, dpo: null });
  });

  test('bf16 is planned only where the machine is fast at it', () => {
    const precisionOn = (instructionSet: Machine['instructionSet']) =>
      planRecipe({ ...inputs, machine: { ...machine, instructionSet } }).pretrain.precision;
    expect(
      ['amx', 'avx512_bf16', 'avx512', 'avx2', 'neon'].map((set) => precisionOn(set as 'amx')),
    ).toEqual(['bf16', 'bf16', 'fp32', 'fp32', 'fp32']);
  });

  test('every choice carries its reason and a source', () => {
    for (const { reason, source, value } of planRecipe(inputs).reasons) {
      expect([reason, source, value].every((text) => text.length > 0)).toBe(true);
    }
  });

  test('the recipe of the quickstart is the one that was measured', () => {
    const { model, pretrain, sft, dpo } = planRecipe(inputs);
    expect(model).toMatchObject({ hiddenSize: 192, numLayers: 4, numHeads: 3 });
    expect(pretrain).toMatchObject({ batchSize: 16, learningRate: 0.02, adamLearningRate: 0.006 });
    expect(sft).toMatchObject({ batchSize: 64, learningRate: 0.002 });
    expect(dpo).toMatchObject({ batchSize: 32, learningRate: 0.00001 });
  });
});

describe('replanRecipe', () => {
  const first = planRecipe(inputs);

  test('a missed base gate changes pretraining: longer, at a lower rate', () => {
    const next = replanRecipe(inputs, first, [{ metric: 'valBpb', value: 2 }]);
    expect(next.round).toBe(1);
    const tokens = ({ pretrain }: typeof next) => pretrain.numSteps * pretrain.batchSize;
    expect(tokens(next)).toBeGreaterThan(tokens(first));
    expect(next.pretrain.learningRate).toBeLessThan(first.pretrain.learningRate);
  });

  test('a missed tuning gate keeps the base model and changes the tuning', () => {
    const next = replanRecipe(inputs, first, [{ metric: 'questions.accuracy', value: 0.1 }]);
    expect(next.pretrain).toEqual(first.pretrain);
    expect(next.model).toEqual(first.model);
    expect(next.sft).not.toEqual(first.sft);
  });
});

describe('a plan that may end on a plateau', () => {
  const ending = planRecipe({ ...inputs, stopOnPlateau: true });

  test('evaluates about ten times, says when it ends, and is the same plan otherwise', () => {
    const { pretrain, reasons, ...rest } = planRecipe(inputs);
    const { plateau, evalEverySteps, ...trained } = ending.pretrain;
    expect(plateau).toEqual({ evaluations: 2, leastFall: 0.005 });
    expect(evalEverySteps).toBe(Math.ceil(pretrain.numSteps / 10));
    expect(ending).toMatchObject(rest);
    expect(pretrain).toEqual({ ...trained, evalEverySteps: pretrain.evalEverySteps });
    expect(ending.reasons.slice(0, -1)).toEqual(reasons);
    expect(ending.reasons.at(-1)!.reason).toContain(`less than 0.5 %`);
    expect(recipeSchema.parse(ending)).toEqual(ending);
  });

  test('may still do so in a later round', () => {
    for (const metric of ['valBpb', 'questions.accuracy'] as const) {
      const later = replanRecipe({ ...inputs, stopOnPlateau: true }, ending, [
        { metric, value: null },
      ]);
      expect(later.pretrain.plateau).toEqual(ending.pretrain.plateau);
    }
  });
});

describe('the rules behind the plan', () => {
  test('expected loss agrees with the measured runs within 3 %', () => {
    // Parameters, tokens, bits a byte on held-out text: docs/log.md.
    const measured = [
      [1_164_160, 823_296, 1.62],
      [4_263_168, 983_040, 1.471],
      [4_263_168, 1_228_800, 1.444],
      [2_557_632, 1_228_800, 1.438],
    ] as const;
    for (const [numParameters, numTokens, bpb] of measured) {
      const expected = expectedBitsPerByte(numParameters, numTokens, 2_435_814);
      expect(Math.abs(expected / bpb - 1)).toBeLessThan(0.03);
    }
  });

  test('an adapted base is expected to end where SmolLM2 did', () => {
    // Bits a byte of held-out law and tokens of 300 KB of it: docs/log.md.
    const { title, shape } = knownBases['smollm2']!;
    const { estimate } = planRecipe({
      ...inputs,
      goal: 'adapt',
      base: { title, shape },
      statistics: { numTokens: 58_600, bytes: 300_000 },
    });
    for (const measured of [0.693, 0.6703]) {
      const expected = (estimate.valBpbLow + estimate.valBpbHigh) / 2;
      expect(Math.abs(measured / expected - 1)).toBeLessThan(0.05);
    }
  });

  test('a step of fewer tokens costs more for each, for the optimizer is paid for once a step', () => {
    for (const shape of ladder(4096, 256)) {
      const step = (batchSize: number) =>
        pretrainingStepMs(machine, shape, { batchSize, contextLength: 256 });
      expect(4 * step(4)).toBeGreaterThan(step(16) * 1.15);
      expect(step(4)).toBeLessThan(step(16));
    }
  });

  test('repeated tokens are worth less than new ones, and never less than nothing', () => {
    expect(effectiveTokens(50, 100)).toBe(50);
    const twice = effectiveTokens(200, 100);
    expect(twice).toBeGreaterThan(190);
    expect(twice).toBeLessThan(200);
    expect(effectiveTokens(10_000, 100)).toBeLessThan(1700);
  });

  test('text that a model has room to learn by heart teaches it less when it comes again, and no less the first time', () => {
    const expected = (numParameters: number, epochs: number, numTokens: number) =>
      expectedOfText(numParameters, epochs * numTokens, { numTokens, bytes: 4 * numTokens });
    const gain = (numParameters: number, numTokens: number) =>
      1 - expected(numParameters, 16, numTokens) / expected(numParameters, 4, numTokens);
    expect(gain(1e6, 100_000)).toBeLessThan(0.3 * gain(1e4, 100_000));
    expect(gain(1e6, 1e8)).toBeCloseTo(
      1 - expectedBitsPerByte(1e6, 16e8, 1e8) / expectedBitsPerByte(1e6, 4e8, 1e8),
      10,
    );
    expect(expected(1e6, 0.9, 100_000)).toBe(expectedBitsPerByte(1e6, 90_000, 100_000));
  });

  test('parameters are counted as transformers counts them', () => {
    // LlamaForCausalLM of this shape, tied: 4096 × 192 + 4 × (4 × 192² + 3 × 192 × 512 + 2 × 192) + 192.
    const shape = ladder(4096, 256).find(({ hiddenSize }) => hiddenSize === 192)!;
    expect(countParameters(shape)).toBe(786_432 + 4 * (147_456 + 294_912 + 384) + 192);
  });

  test('parameters of the Qwen families are those of the published models', () => {
    const common = { vocabSize: 151_936, contextLength: 2048, ropeTheta: 1e6, tieEmbeddings: true };
    const qwen3 = { family: 'qwen3', ...common, hiddenSize: 1024, intermediateSize: 3072 } as const;
    const heads = { numLayers: 28, numHeads: 16, numKvHeads: 8, headDim: 128 };
    expect(countParameters({ ...qwen3, ...heads })).toBe(596_049_920);
    const qwen2 = { family: 'qwen2', ...common, hiddenSize: 896, intermediateSize: 4864 } as const;
    const fewer = { numLayers: 24, numHeads: 14, numKvHeads: 2 };
    expect(countParameters({ ...qwen2, ...fewer })).toBe(494_032_768);
  });

  test('heads that are wider than the model cost attention, and no more than that', () => {
    const shape = ladder(512, 256, 'qwen3')[0]!;
    const wide = { ...shape, headDim: 128 };
    const more = countParameters(wide) - countParameters(shape);
    const attended = 6 * shape.numLayers * 64 * shape.contextLength;
    expect(trainingFlopsPerToken(wide) - trainingFlopsPerToken(shape)).toBe(6 * more + attended);
  });

  test('the family that a file asks for changes the architecture and its reason, and nothing else', () => {
    const plain = planRecipe(inputs);
    const other = planRecipe({ ...inputs, family: 'qwen3' });
    expect(other.model).toEqual({ ...plain.model, family: 'qwen3' });
    expect(other.pretrain).toEqual(plain.pretrain);
    expect(other.numParameters).toBeGreaterThan(plain.numParameters);
    expect(other.reasons[0]).toMatchObject({ choice: 'architecture', value: 'Qwen3' });
    expect(JSON.stringify(plain)).not.toMatch(/architecture|headDim/);
  });

  test('a configuration that was given is trained as it is, by AdamW, in steps of as many tokens', () => {
    const given: MeasuredModel = {
      architecture: 'GemmaForCausalLM',
      config: { model_type: 'gemma' },
      hiddenSize: 256,
      numLayers: 4,
      contextLength: 512,
      tieEmbeddings: true,
      parameters: { fixed: 3_000_000, perToken: 256 },
    };
    const recipe = planRecipe({ ...inputs, given });
    expect(recipeSchema.parse(JSON.parse(JSON.stringify(recipe)))).toEqual(recipe);
    expect(recipe.numParameters).toBe(3_000_000 + 256 * 4096);
    expect(recipe.model).toMatchObject({ family: 'transformers', vocabSize: 4096, numLayers: 4 });
    const { optimizer, learningRate, batchSize, contextLength } = recipe.pretrain;
    expect([optimizer, learningRate]).toEqual(['adamw', 0.002]);
    expect(batchSize * contextLength).toBe(4096);
    expect(recipe.sft?.contextLength).toBe(128);
    const reasons = recipe.reasons.map(({ choice, value }) => `${choice} ${value}`);
    expect(reasons).toEqual(
      expect.arrayContaining(['architecture GemmaForCausalLM', 'optimizer AdamW 0.002']),
    );
    const short = planRecipe({ ...inputs, given: { ...given, contextLength: 64 } });
    expect([short.pretrain.contextLength, short.sft?.contextLength]).toEqual([64, 64]);
    const parent = { name: 'own', version: 1, shape: recipe.model, numTokens: 1e6 };
    const onwards = planRecipe({ ...inputs, parent });
    expect(onwards.model).toEqual(recipe.model);
    expect(onwards.pretrain).toMatchObject({ optimizer: 'adamw', contextLength: 512 });
    expect(onwards.pretrain.learningRate).toBeCloseTo(0.3 * 0.002);
  });

  test('the vocabulary is a power of two between 512 and 32,768', () => {
    for (const bytes of [0, 1e4, 1e6, 1e7, 1e9, 1e15]) {
      const size = chooseVocabSize(bytes);
      expect(Math.log2(size) % 1).toBe(0);
      expect(size).toBeGreaterThanOrEqual(512);
      expect(size).toBeLessThanOrEqual(32_768);
    }
    expect(chooseVocabSize(10_600_000)).toBe(4096);
  });
});
