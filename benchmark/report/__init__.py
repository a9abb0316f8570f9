"""Pictures and pages made of records: contact sheets now."""
