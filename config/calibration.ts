/** What a calibration may cost. It imports nothing, so that workflows may load it. */

/** Of the budget, that the planner lets a calibration take, and after which the workflow gives it up. */
export const calibrationShare = 0.03;
