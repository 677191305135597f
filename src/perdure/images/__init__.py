"""Images: made from a project's environment, named by their contents, built in tiers."""
