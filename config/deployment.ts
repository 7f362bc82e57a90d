/** What is asked of a deployment and what it answers: said by clients, heard by workflows, done by activities. */

export interface DeployRequest {
  model: string;
  version: number;
  by: string;
  reason: string;
  /**
   * The champion that this version is to follow: it is deployed only while that one still is champion; null: while
   * there is none. Left out, it follows whichever there is: what a person asks for.
   */
  expectedChampion?: number | null;
}

export interface DeployOutcome {
  generation: number;
  bundle: string;
  url: string;
  /** From the declaration until every node served it. */
  convergedMs: number;
}
