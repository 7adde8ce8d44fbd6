"""From predictions to a report: HTML and Markdown, ROC figures, example photographs."""
