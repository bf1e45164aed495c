"""Do test photos come from elsewhere?"""
