"""Many runs together: campaigns, studies, the prompts of attacks, the scores that ship with `mini`."""
