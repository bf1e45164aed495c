"""WHAT IS EXPORTED: joins trained weights and a plan into a folder that predicts anywhere; needs no ledger to be used.

gather   everything that a choice is made on: members opened, what is missing computed
answer   what a plan answers for the test photos
export   submission and bundle
layout   the names of a bundle's files
predict  a bundle and photos -> answers
"""
