"""WHAT IS EXPORTED: joins trained weights and a plan into a folder that predicts anywhere; needs no ledger to be used."""
