"""From a stack to numbers: reconstruction, localizations, evaluation, pictures."""
