-- What inventory publishes to reconciliation, and no table. The release step runs this after the migrations,
-- each time.

-- PostgreSQL lets every role execute a new function.
revoke execute on all functions in schema inventory from public;

grant usage on schema inventory to vitrina_sync_feed;
grant select on inventory.sync_feed to vitrina_sync_feed;
-- All functions of the schema belong to the contract. Those that read tables do so as their owner.
grant execute on all functions in schema inventory to vitrina_sync_feed;
