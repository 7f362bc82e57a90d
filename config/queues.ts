/** Task queues: one per kind of worker, and one per GPU host for files tied to that host. */
export const TaskQueue = {
  control: 'control',
  data: 'data',
  gpu: 'gpu',
} as const;
export type TaskQueue = (typeof TaskQueue)[keyof typeof TaskQueue];

/** The queue that only the gpu worker of one host polls. */
export function gpuHostQueue(host: string): string {
  return `${TaskQueue.gpu}-${host}`;
}
