-- Jobs that ended before their rows said until when they are kept.
UPDATE jobs
SET expires_at = finished_at + json_extract(doc, '$.order.retention_days') * 86400000
WHERE finished_at IS NOT NULL AND expires_at IS NULL;
