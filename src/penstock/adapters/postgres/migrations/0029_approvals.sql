-- Approvals by several, cases that people take over, and what tells them of it.
SELECT;
