/** What is asked of a deployment and what it answers: said by clients, heard by workflows, done by activities. */

export interface DeployRequest {
  model: string;
  version: number;
  by: string;
  reason: string;
}

export interface DeployOutcome {
  generation: number;
  bundle: string;
  url: string;
  /** From the declaration until every node served it. */
  convergedMs: number;
}
