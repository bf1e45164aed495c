"""HOW THEY VOTE: pools of cached probabilities with their ids in, a plan and what is known of it out. Arithmetic only: no torch, no ray.

choose        from `pool.Pools` and `options.Options` to a plan; the one function an export asks
pool          what a choice is made on: arrays with their ids, and what the competition says of them
fit_subtask   the choice for one subtask, and what refines it
report        what is said of every answer
make_plan     names put to what was chosen
votes         the voting rules, each with a written tie rule: `(K, N, C)` -> `(N,)`
align         who votes; rows are brought together by ids, here and nowhere else
log_probs     logarithms with a floor, the same bits everywhere
resampling    groups, which are never split: folds, bootstrap draws, how much wider intervals of few groups must be
metric_sums   numbers that add up over photos and resamples, and the score they make
parallel      resamples shared by processes

selection/    members: candidates, the strategies that choose among them, their comparison, and what they cost
views/        through which TTA views members look
postprocess/  what is done with votes: calibration, label shift, offsets, constrained assignment, stacking, one answer per group
scoring/      what a choice is worth on people it did not see
shift/        adversarial validation: do test photos come from elsewhere
label/        from the tasks' votes to the composed label
plan/         everything a decision needs, as JSON
"""
