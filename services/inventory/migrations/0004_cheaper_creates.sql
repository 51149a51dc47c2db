-- What each create paid for and nobody used; the figures are in decision 0010.

-- A product and its stock are only ever inserted together, by one statement, and neither is ever
-- deleted. The constraint cost each create a lookup, a row lock and its log record.
alter table inventory.stock drop constraint stock_product_fkey;

-- Keys come in the order of their times, so a block range index finds the old ones.
drop index inventory.idempotency_created_at;
create index idempotency_created_at on inventory.idempotency using brin (created_at)
    with (pages_per_range = 32, autosummarize = on);
