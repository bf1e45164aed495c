"""HOW THEY VOTE: from cached probabilities `(K, N, C)` and their ids to labels `(N,)`. Numpy only; no torch, no ray.

votes        the voting rules, each with a written tie rule
voters       who votes; rows are brought together by ids, here and nowhere else
selection    which trials of a pool become members
composition  the tasks' labels <-> the composed label
plan         everything the decision needs, as JSON
honest       what the whole choice scores on people it did not see
"""
