\set s random(1, 100000)
with p as (
    insert into products (id, seller_id, name, category, amount, currency, stock)
    select gen_random_uuid(), :s, 'Product ' || :s || ' blue widget', 'cat-' || (:s % 50), :s, 'BRL', 10
    from generate_series(1, 100)
    returning *)
insert into outbox (aggregate_id, version, event_type, payload)
select id, version, 'ProductCreated', jsonb_build_object('id', id, 'name', name, 'category', category, 'amount', amount, 'currency', currency, 'stock', stock, 'version', version)
from p;
