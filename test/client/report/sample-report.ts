/** A whole report for tests of the page, made through its schema. */
import { runReportSchema, type RunReport } from '../../../client/report/run-report.ts';
import type { Distributions } from '../../../config/statistics.ts';
import { stageNames } from '../../../workflows/messages.ts';
import { digestOf } from '../../support/records.ts';
import { machine, recipe } from '../../support/recipes.ts';

const at = (seconds: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, seconds)).toISOString();

/** Of hostile names, too. */
export const sampleDistributions: Distributions = {
  languages: { 'zh-Hant': 2, 'Latin script': 1 },
  lengths: [
    { from: 64, numDocuments: 1 },
    { from: 256, numDocuments: 2 },
  ],
  domains: {
    top: [{ name: '"><script>alert(2)</script>.example', numDocuments: 2 }],
    numOthers: 3,
    numDocumentsOfOthers: 4,
  },
  licenses: { top: [], numOthers: 0, numDocumentsOfOthers: 0 },
  dates: { first: '1990', last: '2024-05-02', years: { 1990: 1, 2024: 2 } },
};

/** A finished run that lost a worker, over documents in English and Chinese, some of them hostile. */
export function sampleReport(change: Partial<RunReport> = {}): RunReport {
  const evaluation = {
    schemaVersion: 1 as const,
    bundle: digestOf('b'),
    metrics: { 'questions.accuracy': { value: 0.4, stderr: 0.03, count: 100 } },
    latency: { firstTokenMs: 8, tokensPerSecond: 5000, probeDifference: 2e-6 },
    samples: [{ question: '《民法》由誰主管？', expected: '法務部', answer: '法務部' }],
  };
  return runReportSchema.parse({
    schemaVersion: 1,
    run: 'policy-7f3a',
    madeAt: at(100),
    state: 'finished',
    failure: null,
    startedAt: at(0),
    endedAt: at(90),
    machine,
    goal: 'assistant',
    model: {
      name: 'policy',
      version: 2,
      reused: false,
      bundle: digestOf('b'),
      onnxBytes: 1e6,
      exact: true,
    },
    endpoint: 'policy',
    parent: null,
    base: null,
    missing: [],
    plan: {
      recipe,
      digest: digestOf('c'),
      comparisons: [
        {
          what: 'valBpb',
          planned: { value: null, low: 1.5, high: 1.8 },
          found: 1.9,
          verdict: 'worse',
        },
      ],
      earlierRounds: [],
    },
    phases: [
      {
        phase: 'pretrain',
        stage: 'pretrain',
        round: 0,
        numSteps: 100,
        trainedBy: 'policy-7f3a',
        reused: false,
        points: Array.from({ length: 100 }, (_, index) => ({
          step: index + 1,
          loss: 7 - index / 25,
          learningRate: 0.02,
          tokensPerSecond: 10_000,
        })),
        evaluations: [{ step: 100, valBpb: 1.9, valLoss: 3.4 }],
        checkpoints: [{ step: 50, generation: 1 }],
        generations: 2,
        marks: [
          { step: 60, kind: 'lost', text: 'the gpu worker was lost; generation 2', at: at(40) },
          { step: 61, kind: 'adopted', text: 'adopted at step 61, 0 steps lost', at: at(44) },
        ],
        seed: 7,
        plannedLoss: 3.2,
        finalLoss: 3.04,
        numTokens: 400_000,
        learningRates: [],
        rollbacks: [],
        plateau: null,
        adapted: null,
        trainingMs: 60_000,
        weights: digestOf('a'),
      },
    ],
    evaluations: [{ stage: 'evaluate-tuned', evaluation }],
    gates: [{ metric: 'questions.accuracy', min: 0.6, max: null, value: 0.4, passed: false }],
    data: {
      dataset: {
        name: 'policy',
        version: 1,
        digest: digestOf('d'),
        sources: [{ name: './文件', license: 'internal', numDocuments: 3, bytes: 900 }],
        numDocuments: 3,
        bytes: 900,
        distributions: sampleDistributions,
      },
      personalData: 'redact',
      dropped: [
        {
          reason: 'symbols',
          stage: 'preprocess',
          count: 1,
          samples: [
            {
              source: './<img src=x onerror=alert(1)>.txt',
              detail: 'found 0.4, expected at most 0.1',
              text: '<script>alert("x")</script> </style> mail <EMAIL> \u202Eevil 重複的句子',
            },
          ],
        },
      ],
      corpus: null,
      card: '# policy@1\n\n| </pre><script>alert(1)</script> |\n',
    },
    stages: stageNames.map((name, index) => ({
      name,
      state: 'done',
      startedAt: at(index * 9),
      endedAt: at(index * 9 + 8),
      summary: `${name} is done`,
      seed: null,
      inputs: [],
      outputs: [{ what: 'weights', digest: digestOf('a') }],
    })),
    notes: [{ at: at(40), stage: 'pretrain', text: 'the gpu worker was lost; generation 2' }],
    repeat: {
      code: null,
      pipeline: 'name: policy\n',
      commands: ['npx temper run pipeline.yaml'],
      orders: [],
      compare: [{ what: 'bundle', digest: digestOf('b') }],
    },
    ...change,
  });
}
