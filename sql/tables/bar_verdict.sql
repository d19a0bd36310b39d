-- @table bar_verdict
-- @grain date, symbol, source
-- @partition date
-- @about Bars that no price is made of, each with the name of its fault and the numbers that made it; a market's rows are replaced with its prices.
create table if not exists bar_verdict (
    date date not null, -- day of the bar
    symbol varchar not null, -- canonical market id
    source varchar not null, -- source of the bar
    kind varchar not null, -- what is wrong with it, snake_case as in docs/feeds.md
    detail varchar not null, -- the numbers that the rule used
    evidence varchar not null, -- what they mean, in words
    known_on date not null -- newest day that the verdict uses; from then on it never changes
)
