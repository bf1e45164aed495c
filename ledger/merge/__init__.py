"""A team-mate's ledger brought into ours."""
